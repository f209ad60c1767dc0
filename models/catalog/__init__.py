"""The catalog: the models and auxiliary models of this server, and what each of them can do."""
