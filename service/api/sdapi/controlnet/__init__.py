"""The ControlNet extension of A1111: its units in drawing requests, and its routes."""
