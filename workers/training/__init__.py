"""Jobs that train a model: each run is a process of its own."""
