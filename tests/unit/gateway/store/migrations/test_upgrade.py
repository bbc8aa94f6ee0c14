"""Which revisions are known."""

from __future__ import annotations

from mycelos.gateway.store.database import REVISION
from mycelos.gateway.store.migrations.upgrade import is_known


def test_this_versions_revision_is_known_and_a_later_one_is_not() -> None:
    assert is_known(REVISION)
    assert not is_known("9999")
