"""What the owner of a model does with it, from Python: ``client.lifecycle``.

>>> [family["name"] for family in client.lifecycle.families()][:2]    # doctest: +SKIP
['averaged_perceptron', 'linear_regression']
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from primitives.codec import Encodable
from quorate.connection import Connection
from quorate.records import Transaction

__all__ = ["Lifecycle"]

Submit = Callable[[int, list[Encodable], bytes | None], Transaction]


class Lifecycle:
    """Families, growth, versions, parameters from elsewhere and validation of models.

    Parameters
    ----------
    connection : to the node.
    submit : sends a transaction of a kind with a body and maybe a payload, and waits for it.
    """

    def __init__(self, connection: Connection, submit: Submit) -> None:
        self._connection = connection
        self._submit = submit

    def families(self) -> list[dict[str, Any]]:
        """Return the families of models, each with the JSON Schema of its specs."""
        return [dict(item) for item in self._connection.get("/api/v1/families", {})["items"]]
