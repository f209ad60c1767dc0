"""One process per device: takes jobs from the queue, draws them together, and reports to the ledger."""
