"""What the network has promised: terms, prices, models and safety, signed by its stewards."""
