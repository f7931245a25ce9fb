"""What a user imports to talk to a Quorate network."""
