"""The window for home hosts: pure presenters, and a thin shell of Qt over them."""
