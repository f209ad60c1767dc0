"""The language engine of ``photogram up``: its installation, its command line and its supervision."""
