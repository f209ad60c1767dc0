"""Jobs: what can be asked for, how a request becomes a complete ticket, and the record of what became of it."""
