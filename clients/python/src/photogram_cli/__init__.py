"""The command line of Photogram; `command.py` has its entry point."""
