"""A home host: its engine process, its daemon and the model it serves."""
