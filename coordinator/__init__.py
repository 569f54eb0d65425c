"""The central service: one request's life from API key to settlement."""
