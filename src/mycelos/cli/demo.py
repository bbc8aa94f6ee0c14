"""`mycelos demo`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from mycelos.demo.tour import run_tour


def demo(*, keep: Annotated[bool, Parameter(help="Leave the page open afterwards.", negative="")] = False) -> int:
    """Bring up a whole system with a stand-in for the outside, use it, attack it, verify the ledger.

    Example: mycelos demo --keep
    """
    return run_tour(keep=keep)
