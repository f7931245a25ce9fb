"""Executing blocks again without anything remembered, and writing down what came of it.

A report is a JSON file in ``data/divergence/``: what each transaction left behind, in digests, and
on which software and machine. Two operators compare theirs with ``quorate divergence``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from consensus.messages import Block
from ledger.body import decode_body
from ledger.divergence import BlockDigests, ExecutionTrace, TransactionDigest
from ledger.executed_block import ExecutedBlock
from ledger.executor import BlockExecutor
from ledger.key_value import KeyValueStore
from ledger.payload import PayloadReader
from ledger.store import LedgerStore
from node.storage.durable_files import make_folder, sync_folder
from node.version import read_version
from primitives.errors import InvalidInputError

__all__ = [
    "REPORTS_MAX",
    "DivergenceReport",
    "describe_machine",
    "examine_blocks",
    "load_report",
    "save_report",
]

REPORTS_MAX: Final = 64
"""Reports that are kept; whoever has that many does not need another one."""

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class DivergenceReport:
    """What executing a chain of blocks came to.

    Parameters
    ----------
    blocks : ascending; the last one is what it is about.
    certified_root : state root that a quorum certified for the last one, if one did.
    own_root : state root that this node had reached before, if it had.
    machine : software and hardware, by name.
    """

    blocks: tuple[BlockDigests, ...]
    certified_root: bytes | None
    own_root: bytes | None
    machine: dict[str, str]

    @property
    def last(self) -> BlockDigests:
        """The block that the report is about."""
        return self.blocks[-1]


def examine_blocks(
    values: KeyValueStore, payloads: PayloadReader, blocks: Sequence[Block]
) -> tuple[BlockDigests, ...]:
    """Execute blocks on the final state as it is on disk, and return what came of each.

    Parameters
    ----------
    values
        The ledger; nothing is written, and nothing must write to it meanwhile.
    payloads
        Of final blocks.
    blocks
        Ascending; the first is a child of the last final block. Those that end an epoch by
        following its last block change nothing and are left out.

    Notes
    -----
    The last one returned is the first whose execution broke off, if one did. If other blocks became
    final meanwhile there is nothing to look into any more, and nothing is returned.
    """
    store = LedgerStore(values)
    if blocks[0].header.parent_id != store.tip().block_id:
        return ()
    executor = BlockExecutor(store, payloads)
    parameters = store.parameters()
    found: list[BlockDigests] = []
    root, parent = store.tip().state_root, None
    for block in blocks:
        header = block.header
        if header.height > parameters.epoch_end(header.epoch):
            break
        trace = ExecutionTrace()
        executed: ExecutedBlock | None = None
        failure = ""
        try:
            transactions = decode_body(
                block.body,
                bytes_max=parameters.block_bytes_max,
                transactions_max=parameters.transactions_per_block_max,
            )
            executed = executor.execute(header, transactions, parent, trace.note)
        except Exception as error:
            # Whatever it is, it is what the report is about.
            failure = f"{type(error).__name__}: {error}"
        own_root = b"" if executed is None else executed.state_root
        found.append(
            BlockDigests(
                header.height, header.view, block.block_id, root, own_root, trace.digests, failure
            )
        )
        if executed is None:
            break
        root, parent = own_root, executed
    return tuple(found)


def describe_machine() -> dict[str, str]:
    """Return what may make one node compute something else than another."""
    return {
        "quorate": read_version(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "processor": _read_processor(),
        **{name: _read_package_version(name) for name in ("numpy", "numba", "llvmlite")},
    }


def save_report(folder: Path, report: DivergenceReport) -> Path | None:
    """Write a report and return where; None if there are too many already."""
    make_folder(folder)
    path = folder / f"{report.last.height}-{report.last.block_id.hex()[:8]}.json"
    if not path.exists() and len(list(folder.glob("*.json"))) >= REPORTS_MAX:
        return None
    draft = path.with_suffix(".draft")
    with draft.open("w", encoding="utf-8") as file:
        json.dump(_to_json(report), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(folder)
    return path


def load_report(path: Path) -> DivergenceReport:
    """Return the report in a file.

    Raises
    ------
    InvalidInputError
        ``invalid_report``: the file is missing or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']}, known is {_FORMAT}")
        blocks = tuple(_block_from_json(block) for block in document["blocks"])
        roots = [document[name] for name in ("certified_root", "own_root")]
        certified_root, own_root = (None if root is None else bytes.fromhex(root) for root in roots)
        machine = {str(name): str(value) for name, value in document["machine"].items()}
        return DivergenceReport(blocks, certified_root, own_root, machine)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            "invalid_report",
            f"{path} is no report on a divergence: {type(error).__name__}: {error}",
            field="file",
            value=str(path),
        ) from error


def _to_json(report: DivergenceReport) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "certified_root": None if report.certified_root is None else report.certified_root.hex(),
        "own_root": None if report.own_root is None else report.own_root.hex(),
        "machine": report.machine,
        "blocks": [_block_to_json(block) for block in report.blocks],
    }


def _block_to_json(block: BlockDigests) -> dict[str, Any]:
    return {
        "height": block.height,
        "view": block.view,
        "block_id": block.block_id.hex(),
        "parent_root": block.parent_root.hex(),
        "state_root": block.state_root.hex(),
        "failure": block.failure,
        "transactions": [
            {
                "transaction_id": each.transaction_id.hex(),
                "status": each.status,
                "code": each.code,
                "receipt": each.receipt.hex(),
                "writes": each.writes.hex(),
                "arrays": each.arrays.hex(),
            }
            for each in block.transactions
        ],
    }


def _block_from_json(document: dict[str, Any]) -> BlockDigests:
    return BlockDigests(
        height=int(document["height"]),
        view=int(document["view"]),
        block_id=bytes.fromhex(document["block_id"]),
        parent_root=bytes.fromhex(document["parent_root"]),
        state_root=bytes.fromhex(document["state_root"]),
        transactions=tuple(_transaction_from_json(each) for each in document["transactions"]),
        failure=str(document["failure"]),
    )


def _transaction_from_json(document: dict[str, Any]) -> TransactionDigest:
    return TransactionDigest(
        transaction_id=bytes.fromhex(document["transaction_id"]),
        status=str(document["status"]),
        code=str(document["code"]),
        receipt=bytes.fromhex(document["receipt"]),
        writes=bytes.fromhex(document["writes"]),
        arrays=bytes.fromhex(document["arrays"]),
    )


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _read_package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"
