"""The sandbox profiles: what a process may do, as data. Everything else it may not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mycelos.sandbox.limits import MEBIBYTE
from mycelos.sandbox.seccomp import FilterKind

_NEVER: Final = {"CORE": 0, "MEMLOCK": 0, "MSGQUEUE": 0, "NICE": 0, "RTPRIO": 0, "STACK": 16 * MEBIBYTE}


@dataclass(frozen=True)
class SandboxProfile:
    """What a kind of process may do.

    ``has_programs`` binds the system's programs and lets them be executed, ``has_proc`` shows the processes of
    the sandbox itself, ``temporary_bytes`` is the size of /tmp where namespaces give one.
    """

    name: str
    filter_kind: FilterKind
    has_programs: bool
    has_proc: bool
    temporary_bytes: int
    limits: Mapping[str, int]


AGENT: Final = SandboxProfile(
    name="agent",
    filter_kind=FilterKind.AGENT,
    has_programs=False,
    has_proc=False,
    temporary_bytes=64 * MEBIBYTE,
    limits=_NEVER | {"NOFILE": 256, "NPROC": 1, "FSIZE": 256 * MEBIBYTE, "AS": 1024 * MEBIBYTE, "CPU": 3600},
)
"""An agent's loop: one process, one thread, one socket that it was given, one folder."""

AGENT_COMMAND: Final = SandboxProfile(
    name="agent",
    filter_kind=FilterKind.AGENT_COMMAND,
    has_programs=True,
    has_proc=False,
    temporary_bytes=AGENT.temporary_bytes,
    limits=AGENT.limits,
)
"""The same walls around a command that a person gives: it differs in that programs can be executed."""

TOOLS: Final = SandboxProfile(
    name="tools",
    filter_kind=FilterKind.TOOLS,
    has_programs=True,
    has_proc=True,
    temporary_bytes=256 * MEBIBYTE,
    limits=_NEVER | {"NOFILE": 4096, "NPROC": 256, "FSIZE": 1024 * MEBIBYTE, "AS": 4096 * MEBIBYTE, "CPU": 3600},
)
"""Ordinary programs, without any network: they may start others and execute what they write."""

COMMAND_PROFILES: Final[Mapping[str, SandboxProfile]] = {"agent": AGENT_COMMAND, "tools": TOOLS}
"""The profiles of `mycelos sandbox run`, by name."""
