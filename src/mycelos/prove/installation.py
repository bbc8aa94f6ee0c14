"""The installation that is attacked: its data folder, and the processes that run there now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from mycelos.prove.outcome import CannotShowError
from mycelos.supervisor.state import SupervisorState, read_state

if TYPE_CHECKING:
    from mycelos.configuration.layout import DataLayout


@dataclass(frozen=True)
class Installation:
    """``state`` is None where no supervisor runs."""

    layout: DataLayout
    state: SupervisorState | None

    def running(self) -> SupervisorState:
        """The state of the running system.

        Raises:
            CannotShowError: nothing runs.
        """
        if self.state is None:
            message = "nothing runs in this data folder; start it with: mycelos serve"
            raise CannotShowError(message)
        return self.state

    def process(self, name: str) -> int:
        """The process id of one zone.

        Raises:
            CannotShowError: it does not run.
        """
        for child in self.running().children:
            if child.name == name and child.pid is not None:
                return child.pid
        message = f"the {name} does not run now; see: mycelos status"
        raise CannotShowError(message)


def find_installation(layout: DataLayout) -> Installation:
    """The installation in this data folder, with what runs of it.

    Raises:
        CannotShowError: the supervisor's file cannot be read.
    """
    try:
        return Installation(layout, read_state(layout))
    except (OSError, msgspec.DecodeError):
        message = f"{layout.supervisor_state} cannot be read; stop and start the system"
        raise CannotShowError(message) from None
