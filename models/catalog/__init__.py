"""The catalog: which models and auxiliary models there are, and what each of them can do."""
