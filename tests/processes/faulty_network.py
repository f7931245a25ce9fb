"""Validators whose connections can be harmed, by whatever means, and healed."""

from __future__ import annotations

from node.local_network import LocalNetwork

__all__ = ["FaultyNetwork"]


class FaultyNetwork(LocalNetwork):
    """A network that knows how to undo what was done to its connections."""

    def heal(self) -> None:
        """End every fault of the connections."""
