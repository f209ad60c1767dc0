"""The server's part of the command line: what ``photogram up``, ``gateway`` and ``models`` do."""
