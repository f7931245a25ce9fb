"""Frames: how messages follow each other on a connection, and how large each may be.

A frame is a length (u32, big-endian, of what follows), a channel (u8) and the message. Every
channel has its own cap, so that a peer cannot make us hold a large buffer for what is always
small. Source: docs/spec/p2p.md §3.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from primitives.errors import InvalidInputError

__all__ = ["FRAME_HEADER_BYTES", "Channel", "decode_frame_header", "encode_frame", "get_cap_bytes"]

FRAME_HEADER_BYTES: Final = 5


class Channel(IntEnum):
    """What a frame is about; lower numbers leave first.

    HELLO and PING belong to the connection itself; the others carry what the layers above send.
    """

    HELLO = 0
    CONSENSUS_VOTE = 1
    CONSENSUS_CERTIFICATE = 2
    CONSENSUS_PROPOSAL = 3
    SYNC = 4
    TRANSACTION = 5
    PING = 6
    SNAPSHOT = 7


_CAPS_BYTES: Final = {
    Channel.HELLO: 4 * 1024,
    Channel.CONSENSUS_VOTE: 4 * 1024,
    Channel.CONSENSUS_CERTIFICATE: 64 * 1024,
    Channel.CONSENSUS_PROPOSAL: 8 * 1024 * 1024,
    Channel.SYNC: 8 * 1024 * 1024,
    Channel.TRANSACTION: 2 * 1024 * 1024,
    Channel.PING: 16,
    Channel.SNAPSHOT: 9 * 1024 * 1024,
}


def get_cap_bytes(channel: Channel) -> int:
    """Return the longest message that a channel carries."""
    return _CAPS_BYTES[channel]


def encode_frame(channel: Channel, data: bytes) -> bytes:
    """Return the bytes of a frame.

    Raises
    ------
    InvalidInputError
        ``too_large``: the message exceeds the cap of its channel.
    """
    _check_size(channel, len(data))
    return (len(data) + 1).to_bytes(4, "big") + bytes((channel,)) + data


def decode_frame_header(header: bytes) -> tuple[Channel, int]:
    """Return the channel and the length of the message that follows a frame's first five bytes.

    Raises
    ------
    InvalidInputError
        ``malformed`` for a length of zero or an unknown channel, ``too_large`` beyond the
        channel's cap.
    """
    size = int.from_bytes(header[:4], "big") - 1
    if size < 0:
        raise InvalidInputError(
            "malformed", "frame.length is 0, a frame holds a channel", field="frame.length", limit=1
        )
    try:
        channel = Channel(header[4])
    except ValueError as error:
        raise InvalidInputError(
            "malformed", f"frame.channel {header[4]} is unknown", field="frame.channel"
        ) from error
    _check_size(channel, size)
    return channel, size


def _check_size(channel: Channel, size: int) -> None:
    cap = _CAPS_BYTES[channel]
    if size > cap:
        raise InvalidInputError(
            "too_large",
            f"a frame of channel {channel.name} has {size} bytes, the limit is {cap}",
            field="frame.length",
            value=size,
            limit=cap,
        )
