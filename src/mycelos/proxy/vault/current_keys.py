"""The keys of the slot in use, in one object for all who seal or check rows: a rotation reaches every one of them."""

from __future__ import annotations

from collections.abc import Mapping

from mycelos.proxy.vault.envelope import SlotKeys


class CurrentKeys:
    """Whoever writes asks on the database's thread, where rotation runs too: one transaction, one slot.

    Whoever reads elsewhere takes ``slot`` once, together with the records that it opens (`Contents.keys`).
    """

    __slots__ = ("_slot",)

    def __init__(self, slot: SlotKeys) -> None:
        self._slot = slot

    @property
    def slot(self) -> SlotKeys:
        """The keys as they are now. They themselves never change."""
        return self._slot

    @property
    def kid(self) -> str:
        """The id of the slot in use."""
        return self._slot.kid

    def replace(self, slot: SlotKeys) -> None:
        """Let everybody use the keys of another slot; on the database's thread alone."""
        self._slot = slot

    def row_mac(self, table: str, columns: Mapping[str, str | int | None]) -> bytes:
        """The MAC over one row's columns, 32 bytes."""
        return self._slot.row_mac(table, columns)

    def row_holds(self, table: str, columns: Mapping[str, str | int | None], tag: bytes) -> bool:
        """Whether ``tag`` is the MAC over these columns; compared in constant time."""
        return self._slot.row_holds(table, columns, tag)

    def __repr__(self) -> str:
        return f"CurrentKeys({self.kid!r})"
