"""The descriptors that the gateway is born with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Descriptors:
    """What the supervisor handed over: the page's listener, two channels, and where readiness is told."""

    listen: int
    control: int | None
    spawner: int
    ready: int | None

    def kept(self) -> list[int]:
        """Those that stay open behind the walls."""
        return [number for number in (self.listen, self.control, self.spawner, self.ready) if number is not None]
