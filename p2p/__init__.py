"""Authenticated bytes between members; the sockets are in tcp.py alone."""
