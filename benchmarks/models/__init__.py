"""Every model family beside its named twin in floating point: answers and speed, in one table."""
