"""Resource limits (setrlimit(2)) as data, and putting them into force."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

from mycelos.sandbox.errors import Layer, SandboxRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

MEBIBYTE: Final = 1024 * 1024


def apply_limits(limits: Mapping[str, int]) -> None:
    """Set soft and hard limit alike, never above the hard limit that is already there.

    ``limits`` maps a name such as ``NOFILE`` to its value in the unit that setrlimit(2) gives it.

    Raises:
        SandboxRefused: a limit is unknown or cannot be set.
    """
    for name, wanted in limits.items():
        try:
            kind = getattr(resource, f"RLIMIT_{name}")
            _, hard = resource.getrlimit(kind)
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(kind, (value, value))
        except (AttributeError, OSError, ValueError) as error:
            raise SandboxRefused(
                Layer.RESOURCE_LIMITS, f"cannot set RLIMIT_{name}: {error}", "Check the limits of this service"
            ) from None
