from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from mycelos.ledger.log_filter import EVERYTHING, CountFilter, Filter
from mycelos.ledger.query import read_event_query, read_summary_query

NOW = datetime(2026, 5, 6, 12, tzinfo=UTC)
VALUES = {bool: ("true", True), int | None: ("7", 7), str | None: ("proxy", "proxy")}
SINCE = "2026-01-31T12:00:00.000000Z"


def test_everything_is_what_nothing_narrows() -> None:
    assert set(msgspec.structs.asdict(EVERYTHING).values()) == {None, False}


@pytest.mark.parametrize("field", msgspec.structs.fields(Filter), ids=lambda field: field.name)
def test_each_field_is_read_from_the_key_of_its_name(field: msgspec.structs.FieldInfo) -> None:
    text, value = (SINCE, SINCE) if field.name == "since" else VALUES[field.type]
    query = read_event_query([(field.name, text)], NOW)
    assert msgspec.structs.asdict(query) == msgspec.structs.asdict(read_event_query([], NOW)) | {field.name: value}
    if field.name in CountFilter.__struct_fields__:
        assert getattr(read_summary_query([(field.name, text)], NOW), field.name) == value
