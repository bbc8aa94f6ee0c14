"""The error of this room."""

from __future__ import annotations


class BackupError(Exception):
    """A backup cannot be made, or a file is not one that can be restored. Nothing of the installation was changed."""

    def __init__(self, *, detail: str, next_step: str) -> None:
        super().__init__(f"{detail} {next_step}")
        self.detail = detail
        self.next_step = next_step
