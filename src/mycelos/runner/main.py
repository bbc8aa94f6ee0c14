"""The runner's process: takes the socket that it inherited, drives one run, ends."""

from __future__ import annotations

import socket
from typing import Final

from mycelos.runner.channel import Channel, ChannelError
from mycelos.runner.loop import AgentLoop
from mycelos.wire.runner import RUNNER_DESCRIPTOR

DONE: Final = 0
BROKEN_CHANNEL: Final = 1


def main(descriptor: int = RUNNER_DESCRIPTOR) -> int:
    """Drive one run on ``descriptor``; 0 when the run said how it ended, 1 where the gateway broke off."""
    try:
        connected = socket.socket(fileno=descriptor)
    except OSError:
        return BROKEN_CHANNEL
    connected.setblocking(True)
    try:
        AgentLoop(Channel(connected)).run()
    except ChannelError:
        return BROKEN_CHANNEL
    finally:
        connected.close()
    return DONE
