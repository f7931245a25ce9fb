"""Agreement on the order of blocks: sans-IO, events in, actions out."""
