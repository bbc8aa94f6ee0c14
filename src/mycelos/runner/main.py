"""A runner process: takes the socket that it was born with, greets nobody, runs the loop once, ends."""

from __future__ import annotations

import socket
from enum import IntEnum

from mycelos.runner.channel import Channel, ChannelBroken, ChannelClosed
from mycelos.runner.loop import OutOfTurn, run_agent
from mycelos.wire.frames import FrameError
from mycelos.wire.runner import RUNNER_DESCRIPTOR, Hello


class ExitCode(IntEnum):
    """How a runner ends; the spawner passes it on."""

    FINISHED = 0
    BROKEN_CHANNEL = 65
    GATEWAY_GONE = 69


def serve(connection: socket.socket) -> ExitCode:
    """Run the agent on ``connection`` and say how it went."""
    channel = Channel(connection)
    try:
        hello = channel.receive()
        if not isinstance(hello, Hello):
            return ExitCode.BROKEN_CHANNEL
        channel.send(run_agent(channel, hello))
    except ChannelClosed:
        return ExitCode.GATEWAY_GONE
    except (ChannelBroken, OutOfTurn, FrameError):
        return ExitCode.BROKEN_CHANNEL
    return ExitCode.FINISHED


def main() -> int:
    """Entry point: the socket is descriptor 3."""
    # Family and type are given because asking the kernel for them is not on the sandbox's list.
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=RUNNER_DESCRIPTOR) as connection:
        return serve(connection)
