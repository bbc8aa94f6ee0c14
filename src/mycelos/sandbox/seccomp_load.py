"""Putting a compiled seccomp filter into force. Kept apart from the compiler, which a cold start never needs."""

from __future__ import annotations

from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused, explain


def load_filter(program: bytes, *, all_threads: bool = False) -> None:
    """Put a compiled filter into force; no-new-privileges must be set.

    Raises:
        SandboxRefused: the kernel did not take it.
    """
    try:
        kernel.seccomp_load(program, kernel.SECCOMP_FILTER_FLAG_TSYNC if all_threads else 0)
    except OSError as error:
        raise SandboxRefused(
            Layer.SECCOMP,
            f"the kernel did not take the filter: {explain(error)}",
            "Use a kernel with CONFIG_SECCOMP_FILTER, outside a sandbox that forbids seccomp(2)",
        ) from None
