"""Joining a network with an invite: from one pasted string to a request that members vote on.

Theory of operation
-------------------
First the home is laid out: keys, settings, the invite. Then the genesis is fetched from a node that
the invite names and checked against the hash in it. From there on it is a node like any other,
which follows as a guest; beside it runs `JoinProcedure`: it waits until the node has caught up,
checks the invite's checkpoint against the chain that was synced, sends the request and says what
comes next. Everything can be interrupted and run again: what is there is used, what was sent is not
sent twice.

Invariants: (J1) nothing of the network is trusted but the invite's chain id, and what follows from
the genesis by certificates; (J2) keys never leave the home, and are never written over.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

from ledger.changes import Admission, possession_message
from ledger.errors import TransactionFailedError
from ledger.genesis import Genesis, genesis_from_json
from ledger.governance_records import (
    ProposalStatus,
    decode_proposal,
    decode_used_invite,
    proposal_key,
    used_invite_key,
)
from ledger.invite import Invite, invite_from_text, invite_to_text
from ledger.members import Member, Role, check_member, decode_member, member_key
from ledger.receipt import ReceiptStatus
from ledger.schema import account_key, decode_account
from ledger.transaction import Transaction, TransactionContent, build_transaction
from ledger.transactions.membership import REQUEST_MEMBERSHIP, RequestMembership, check_invite
from node.application import NodeHandles
from node.clock import read_wall_ms
from node.final_state import FinalState
from node.home import NodeHome
from node.network_files import make_seed
from node.node_keys import NodeKeys
from node.registry import PROVISIONAL_NUMBER_FIRST
from node.snapshots.messages import GenesisRequest, GenesisText, decode_message, encode_message
from node.storage.keystore import save_seed
from node.storage.sign_guard import GuardState, create_guard, guard_path
from p2p.certificate import make_identity
from p2p.frames import Channel
from p2p.peer_book import OWN_INDEX_UNKNOWN, PeerAddress
from p2p.tcp import PeerCallbacks, PeerNetwork
from primitives.accounts import AccountId, account_id_from_public_key
from primitives.errors import InvalidInputError, QuorateError
from primitives.keys import PrivateKey

__all__ = ["JoinOptions", "JoinProcedure", "JoinProgress", "fetch_genesis", "prepare_home"]

POLL_INTERVAL_S: Final = 0.2
GENESIS_PATIENCE_S: Final = 20.0
VALID_HEIGHTS: Final = 5_000
CLOSE_ENOUGH_HEIGHTS: Final = 2


@dataclass(frozen=True, slots=True)
class JoinOptions:
    """What a newcomer says of itself.

    Parameters
    ----------
    endpoint
        ``host:port`` where others reach its node; empty for a node that dials out.
    contact
        How to reach its people.
    api_port, p2p_port
        Where its node listens.
    password
        Of its new keys; None keeps them plain.
    """

    endpoint: str
    contact: str
    api_port: int
    p2p_port: int
    password: str | None


@dataclass(frozen=True, slots=True)
class JoinProgress:
    """How far joining is, for people.

    Parameters
    ----------
    height, target
        Of our last final block, and of the others'; the target is 0 as long as nobody said.
    sentence
        What is going on.
    """

    height: int
    target: int
    sentence: str


def prepare_home(home: NodeHome, invite: Invite, options: JoinOptions) -> None:
    """Lay out the home of a newcomer, or take note that this was done before.

    Raises
    ------
    InvalidInputError
        ``folder_not_empty`` if the home belongs to another network or invite, ``malformed`` for a
        name, a contact or an endpoint that no member may have.
    """
    text = invite_to_text(invite)
    if home.invite_file.exists():
        if invite_from_text(home.invite_file.read_text(encoding="utf-8")) == invite:
            return
        raise InvalidInputError(
            "folder_not_empty",
            f"{home.root} joined with another invite; choose another --home, or go on with"
            f" `quorate start --home {home.root}`",
            field="home",
            value=str(home.root),
        )
    if home.config_file.exists() or home.genesis_file.exists():
        raise InvalidInputError(
            "folder_not_empty",
            f"{home.root} is the home of a node already; choose another --home",
            field="home",
            value=str(home.root),
        )
    seeds = _write_keys(home, invite, options)
    _check_entry(invite, options, seeds)
    home.config_file.parent.mkdir(parents=True, exist_ok=True)
    home.config_file.write_text(_make_settings(invite, options), encoding="utf-8")
    home.invite_file.write_text(text + "\n", encoding="utf-8")


def _write_keys(home: NodeHome, invite: Invite, options: JoinOptions) -> dict[str, bytes]:
    wanted = {"account": home.account_key_file, "transport": home.transport_key_file}
    if Role.VALIDATOR in invite.roles:
        wanted["validator"] = home.validator_key_file
    seeds = {}
    for purpose, path in wanted.items():
        seeds[purpose] = seed = make_seed()
        if not path.exists():
            description = f"{invite.name} {purpose}"
            save_seed(path, seed, description=description, password=options.password)
    guard = guard_path(home.validator_key_file)
    if Role.VALIDATOR in invite.roles and not guard.exists():
        create_guard(guard, GuardState(invite.chain_id))
    return seeds


def _check_entry(invite: Invite, options: JoinOptions, seeds: dict[str, bytes]) -> None:
    """Refuse now what the ledger would refuse after the sync."""
    keys = {purpose: PrivateKey(seed).public_key for purpose, seed in seeds.items()}
    check_member(
        Member(
            invite.name,
            account_id_from_public_key(keys["account"]),
            keys.get("validator"),
            keys["transport"],
            options.endpoint,
            options.contact,
            invite.roles,
        ),
        "request",
    )


def _make_settings(invite: Invite, options: JoinOptions) -> str:
    host = "0.0.0.0" if options.endpoint else "127.0.0.1"  # noqa: S104 (reached by peers)
    return "\n".join(
        [
            f"# Settings of {json.dumps(invite.name)} in {invite.chain_name}.",
            f"validator = {json.dumps(invite.name)}",
            "",
            "[p2p]",
            f"listen_host = {json.dumps(host)}",
            f"listen_port = {options.p2p_port}",
            "",
            "[api]",
            f"port = {options.api_port}",
            "",
        ]
    )


async def fetch_genesis(
    invite: Invite, transport_seed: bytes, patience_s: float = GENESIS_PATIENCE_S
) -> Genesis:
    """Return the genesis that a node of the invite sends, checked against the invite's chain id.

    Raises
    ------
    QuorateError
        Nobody that the invite names answered in time, or let us in.
    """
    found: asyncio.Future[Genesis] = asyncio.get_running_loop().create_future()
    network = PeerNetwork(
        identity=make_identity(transport_seed, invite.chain_id),
        own_index=OWN_INDEX_UNKNOWN,
        peers=[
            PeerAddress(PROVISIONAL_NUMBER_FIRST + place, peer.transport_key, host, int(port))
            for place, peer in enumerate(invite.peers)
            for host, _, port in [peer.endpoint.rpartition(":")]
        ],
        listen=("127.0.0.1", 0),
        chain_id=invite.chain_id,
        random=Random(),
        dials_all=True,
        invitation=invite.encode(),
    )

    def on_message(_peer: int, channel: Channel, data: bytes) -> None:
        if channel is Channel.SNAPSHOT and not found.done():
            genesis = _read_genesis(data, invite.chain_id)
            if genesis is not None:
                found.set_result(genesis)

    request = encode_message(GenesisRequest())
    network.connect(
        PeerCallbacks(
            on_message=on_message,
            on_connected=lambda peer: network.send(peer, Channel.SNAPSHOT, request),
            on_disconnected=lambda _: None,
        )
    )
    await network.start()
    try:
        return await asyncio.wait_for(found, patience_s)
    except TimeoutError as error:
        endpoints = ", ".join(peer.endpoint for peer in invite.peers)
        raise QuorateError(
            f"no node of the invite let us in within {patience_s:.0f} s ({endpoints}): are they"
            " reachable from here? Or the invite was used, or its inviter has no vote any more"
        ) from error
    finally:
        await network.stop()


def _read_genesis(data: bytes, chain_id: bytes) -> Genesis | None:
    """Return the genesis of a message; None if it is another message, or not the right one."""
    with contextlib.suppress(InvalidInputError, UnicodeDecodeError):
        message = decode_message(data)
        if isinstance(message, GenesisText):
            genesis = genesis_from_json(message.text.decode("utf-8"))
            return genesis if genesis.chain_id == chain_id else None
    return None


class JoinProcedure:
    """Runs beside a newcomer's node until its request is in the ledger.

    Parameters
    ----------
    home
        Of the node.
    invite
        With which it joins.
    options
        What it says of itself.
    keys
        Of the node.
    report
        Told how far it is.
    """

    def __init__(
        self,
        home: NodeHome,
        invite: Invite,
        options: JoinOptions,
        keys: NodeKeys,
        report: Callable[[JoinProgress], None],
    ) -> None:
        self._home = home
        self._invite = invite
        self._options = options
        self._keys = keys
        self._report = report
        self.proposal: int | None = None

    async def run(self, handles: NodeHandles) -> int | None:
        """Return the number of the proposal to admit us; None if we are a member already."""
        await self._catch_up(handles)
        self._check_checkpoint(handles)
        account = self._keys.load_account_key()
        account_id = account_id_from_public_key(account.public_key)
        member = handles.reader.read(member_key(account_id), decode_member)
        if member is not None and member.roles:
            return None
        used = handles.reader.read(used_invite_key(self._invite.invite_id), decode_used_invite)
        if used is None:
            await self._send_request(handles, account, account_id)
            used = handles.reader.read(used_invite_key(self._invite.invite_id), decode_used_invite)
        if used is None or used.account != account_id:
            raise InvalidInputError(
                "invite_used", "the invite was used by somebody else; ask for a new one"
            )
        self.proposal = used.proposal
        return used.proposal

    async def wait_for_decision(self, handles: NodeHandles, number: int) -> ProposalStatus:
        """Return what became of our request, once it is decided."""
        while True:
            proposal = handles.reader.read(proposal_key(number), decode_proposal)
            if proposal is not None and proposal.status not in (
                ProposalStatus.OPEN,
                ProposalStatus.PASSED,
            ):
                return proposal.status
            await asyncio.sleep(POLL_INTERVAL_S)

    async def _catch_up(self, handles: NodeHandles) -> None:
        while True:
            status = handles.read_status()
            claimed = [each.claimed_height or 0 for each in status.consensus.validators]
            target = max([self._invite.trusted_height, *claimed])
            height = status.final_height
            is_there = (
                status.peers_connected > 0
                and any(claimed)
                and not status.is_catching_up
                and height + CLOSE_ENOUGH_HEIGHTS >= target
            )
            sentence = "connecting" if status.peers_connected == 0 else "syncing"
            self._report(JoinProgress(height, target, "in step" if is_there else sentence))
            if is_there:
                return
            await asyncio.sleep(POLL_INTERVAL_S)

    def _check_checkpoint(self, handles: NodeHandles) -> None:
        """Compare the invite's checkpoint with the chain that was synced."""
        height = self._invite.trusted_height
        if height == 0:
            return
        length = handles.reader.parameters().epoch_length
        end = handles.reader.epoch_end(height // length - 1)
        if end is None or height % length or end.header.block_id != self._invite.trusted_block_id:
            raise InvalidInputError(
                "wrong_checkpoint",
                f"the chain that was synced has another block at height {height} than the invite"
                f" says ({self._invite.trusted_block_id.hex()}): do not trust this network; call"
                " the people who invited you",
                field="invite.trusted_block_id",
                value=self._invite.trusted_block_id.hex(),
            )

    async def _send_request(
        self, handles: NodeHandles, account: PrivateKey, account_id: AccountId
    ) -> None:
        state = FinalState(handles.reader)
        try:
            check_invite(state, self._invite, read_wall_ms())
        except TransactionFailedError as error:
            raise InvalidInputError(error.code, error.message, field="invite") from error
        body = RequestMembership(self._invite.encode(), self._make_admission(account_id))
        record = handles.reader.read(account_key(account_id), decode_account)
        content = TransactionContent(
            chain_id=self._invite.chain_id,
            sender=account_id,
            nonce=0 if record is None else record.nonce,
            valid_until_height=handles.reader.tip().height + VALID_HEIGHTS,
            fee_limit=0,
            kind=REQUEST_MEMBERSHIP.code,
            body=body.to_fields(),
        )
        transaction = build_transaction(content, [account], None)
        await handles.submit(transaction.raw, None)
        await self._wait_for_receipt(handles, transaction)

    async def _wait_for_receipt(self, handles: NodeHandles, transaction: Transaction) -> None:
        while True:
            receipt = handles.reader.receipt(transaction.transaction_id)
            if receipt is not None:
                break
            tip = handles.reader.tip().height
            if tip > transaction.valid_until_height:
                raise QuorateError("the request was not taken up in time; join again")
            self._report(JoinProgress(tip, tip, "the request is under way"))
            await asyncio.sleep(POLL_INTERVAL_S)
        if receipt.status is not ReceiptStatus.OK:
            raise InvalidInputError(
                receipt.code, f"the network refused the request: {receipt.message}", field="request"
            )

    def _make_admission(self, account_id: AccountId) -> Admission:
        chain_id = self._invite.chain_id
        transport = PrivateKey(self._keys.open(self._home.transport_key_file))
        validator = None
        if Role.VALIDATOR in self._invite.roles:
            validator = PrivateKey(self._keys.open(self._home.validator_key_file))

        def prove(key: PrivateKey) -> bytes:
            return key.sign(possession_message(chain_id, account_id, key.public_key))

        member = Member(
            name=self._invite.name,
            account=account_id,
            validator_key=None if validator is None else validator.public_key,
            transport_key=transport.public_key,
            endpoint=self._options.endpoint,
            contact=self._options.contact,
            roles=self._invite.roles,
        )
        return Admission(member, None if validator is None else prove(validator), prove(transport))
