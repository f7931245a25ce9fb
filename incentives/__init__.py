"""Who earns or loses how much: pure integer mechanisms whose books always add up."""
