"""A stopped installation to back up; what it is made of lies in tests/support/backup_world.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from backup_world import World, furnish
from pyrage.x25519 import Identity

from mycelos.configuration.layout import DataLayout


@pytest.fixture
def world(layout: DataLayout, tmp_path: Path) -> World:
    furnish(layout)
    return World(layout, Identity.generate(), tmp_path)
