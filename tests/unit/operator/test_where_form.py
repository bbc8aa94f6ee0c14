import pytest

from mycelos.operator.forms import FieldError
from mycelos.operator.where_form import EMPTY_WHERE, bindings_of, kept_where
from mycelos.wire.binding import Header, Method


def test_what_was_typed_is_kept_and_what_was_not_is_empty() -> None:
    kept = kept_where({"host": "a.example", "methods": ["POST"], "confirm": "yes", "secret": "not kept"})
    assert kept == {**EMPTY_WHERE, "host": "a.example", "methods": ["POST"], "confirm": True}
    assert kept_where({"methods": []})["confirm"] is False


def test_each_host_and_path_becomes_a_binding() -> None:
    typed = {"host": "a.example b.example", "path_prefix": "/x", "inject": "header", "inject_name": " X-Key "}
    first, second = bindings_of({**EMPTY_WHERE, **typed})
    assert (first.host, second.host) == ("a.example", "b.example")
    assert first.inject == Header(name="X-Key")
    assert first.methods == (Method.GET,)


def test_another_way_to_send_it_is_refused() -> None:
    with pytest.raises(FieldError) as error:
        bindings_of({**EMPTY_WHERE, "host": "a.example", "inject": "cookie"})
    assert error.value.field == "inject_as"
