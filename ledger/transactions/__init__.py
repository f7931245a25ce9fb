"""One file per family of transactions; registry.py lists them."""
