"""How many images assistants get by MCP, whose calls give up after some seconds while jobs take up to half an hour."""
