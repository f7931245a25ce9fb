"""Snapshots of the state: made, served, fetched, and a node that joins by one."""
