"""The worker: one process per device or queue that takes jobs, runs them, and writes what becomes of them."""
