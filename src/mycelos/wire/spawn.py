"""What the spawner accepts: a profile and a run, and nothing else; and the channel protocols of host mode.

Each message is one datagram on an inherited SEQPACKET socket. ``nonce`` pairs an answer with its request, so
that an answer meant for a process that has died is recognised and dropped.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec

Nonce = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class Profile(StrEnum):
    """The sandbox profiles that can be asked for by name."""

    AGENT = "agent"


class SpawnRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gateway to spawner."""

    v: Literal[1]
    nonce: Nonce
    profile: Profile
    run: str


class SpawnAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spawner to gateway. With ``ok`` come two descriptors: the run's channel, then its lease.

    The lease is a socket on which nothing is sent by the gateway: when its end closes, the spawner ends the
    run's processes. When the run ends by itself, the spawner sends one `RunEnded` on it and closes.
    """

    v: Literal[1]
    nonce: Nonce
    ok: bool
    code: str
    detail: str
    next: str


class RunEnded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Spawner to gateway, on the lease: how the run's process ended. ``signal`` is 0 unless it was killed."""

    v: Literal[1]
    exit_code: int
    signal: int


class ChannelRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Gateway to proxy, on the control channel: hand over one more connected descriptor."""

    v: Literal[1]
    nonce: Nonce


class ChannelAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Proxy to gateway, with one descriptor: a stream socket on which the proxy serves HTTP/1.1."""

    v: Literal[1]
    nonce: Nonce
