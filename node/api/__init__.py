"""The REST interface of a node, run as a process of its own (docs/adr/0004)."""
