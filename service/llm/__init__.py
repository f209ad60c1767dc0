"""The language engine that ``photogram up`` starts by itself: how it is installed, called and kept running."""
