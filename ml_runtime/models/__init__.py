"""One file per model family; ml_runtime/registry.py lists them."""
