"""``quorate agents``: people with habits and money contribute to a model on the real executor."""
