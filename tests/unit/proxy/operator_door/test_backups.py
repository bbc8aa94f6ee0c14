from typing import Any

import msgspec
import pytest
from operator_requests import ask, bearer

from mycelos.wire.operator import AuditExport, BackupMade

MADE = BackupMade(
    file_label="b.age",
    size=7,
    sha256="ab" * 32,
    count=3,
    seq=0,
    leaf_hash="cd" * 32,
    vault_generation=None,
    version="0.1.0",
    made_at="2026-11-26T12:00:00Z",
)


def test_a_backup_that_was_made_is_put_on_record(operator_system: Any) -> None:
    operator_system.client.record_backup(MADE)
    (entry,) = operator_system.events("backup.created")
    assert (entry["phase"], entry["source"], entry["outcome"]) == ("fact", "operator", "ok")
    told = msgspec.structs.asdict(MADE)
    assert entry["details"] == {name: value for name, value in told.items() if value is not None}


@pytest.mark.parametrize("change", [{"size": 0}, {"sha256": "x"}, {"extra": 1}, {"file_label": ""}, {"seq": -1}])
def test_what_does_not_fit_is_refused(operator_system: Any, change: dict[str, Any]) -> None:
    body = {**msgspec.to_builtins(MADE), **change}
    status, problem, _ = ask(operator_system, "POST", "/backup/created", body, Authorization=bearer(operator_system))
    assert (status, problem["code"]) == (400, "invalid_request")
    assert operator_system.events("backup.created") == []


def test_an_export_is_put_on_record(operator_system: Any) -> None:
    operator_system.client.record_export(AuditExport(last_seq=7, file_label="a.jsonl"))
    (entry,) = operator_system.events("audit.exported")
    assert (entry["phase"], entry["source"], entry["outcome"]) == ("fact", "operator", "ok")
    assert entry["details"] == {"last_seq": 7, "file_label": "a.jsonl"}
