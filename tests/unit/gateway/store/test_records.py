"""Rows as values."""

from __future__ import annotations

import pytest

from mycelos.gateway.store.records import Run, RunState


@pytest.mark.parametrize(
    ("state", "is_open"),
    [
        (RunState.QUEUED, True),
        (RunState.RUNNING, True),
        (RunState.FINISHED, False),
        (RunState.FAILED, False),
        (RunState.CANCELLED, False),
    ],
)
def test_a_run_is_open_until_it_has_ended(state: RunState, is_open: bool) -> None:
    assert Run("run", "chat", "assistant", None, state, "", "", "", None).is_open is is_open
