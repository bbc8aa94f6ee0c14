from __future__ import annotations

import pytest

from mycelos.prove import backups
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.backup.errors import BackupError


def test_the_probe_holds_on_the_code_as_it_is():
    findings = backups.attack_backups()
    assert [finding.tried for finding in findings if not finding.held] == []
    assert len(findings) == 4


def test_a_backup_that_cannot_be_made_shows_nothing(monkeypatch):
    def refuse(*_arguments, **_options):
        raise BackupError(detail="The disk is full.", next_step="Make room.")

    monkeypatch.setattr(backups.create, "create", refuse)
    with pytest.raises(CannotShowError, match="disk is full"):
        backups.attack_backups()
