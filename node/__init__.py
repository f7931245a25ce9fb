"""The process: wiring and every side effect."""
