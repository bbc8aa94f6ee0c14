"""Asking the spawner for a confined runner: a profile and a run, nothing else."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.spawn import Profile, RunEnded, SpawnAnswer, SpawnRequest

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from mycelos.gateway.descriptor_channel import DescriptorChannel

SPAWN_SECONDS: Final = 15.0
_LEASE_MESSAGE: Final = 4096


class Runner:
    """One confined process: its channel and the lease that keeps it alive. Leaving the context ends the process."""

    def __init__(self, channel: socket.socket, lease: socket.socket) -> None:
        self.channel = channel
        self._lease = lease

    async def ended(self, seconds: float) -> RunEnded | None:
        """How the process ended, if the spawner says so within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                data = await asyncio.get_running_loop().sock_recv(self._lease, _LEASE_MESSAGE)
            return msgspec.json.decode(data, type=RunEnded)
        except (TimeoutError, OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.channel.close()
        self._lease.close()


class SpawnerClient:
    """The gateway's end of the spawner's door."""

    def __init__(self, channel: DescriptorChannel) -> None:
        self._channel = channel

    async def spawn(self, run_id: str, profile: Profile) -> Runner:
        """Start the runner of one run.

        Raises:
            Refusal: `sandbox_refused`; the spawner does not answer or a wall is missing.
        """
        data, descriptors = await self._channel.request(
            lambda nonce: SpawnRequest(v=1, nonce=nonce, profile=profile, run=run_id), SPAWN_SECONDS
        )
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            channel, lease = _accept(data, sockets)
        except Refusal:
            for one in sockets:
                one.close()
            raise
        channel.setblocking(False)
        lease.setblocking(False)
        return Runner(channel, lease)

    def close(self) -> None:
        """Close this end."""
        self._channel.close()


def _accept(data: bytes, sockets: list[socket.socket]) -> tuple[socket.socket, socket.socket]:
    try:
        answer = msgspec.json.decode(data, type=SpawnAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        answer = None
    if answer is not None and not answer.ok:
        raise Refusal(ProblemCode.SANDBOX_REFUSED, answer.detail, answer.next)
    if answer is None or len(sockets) != 2:
        raise Refusal(
            ProblemCode.SANDBOX_REFUSED,
            "The spawner's answer was not understood",
            "Check that all parts are of one version: mycelos doctor",
        )
    return sockets[0], sockets[1]
