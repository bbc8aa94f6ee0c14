from __future__ import annotations

import pytest

from mycelos.gateway.middleware.request_headers import single_header
from mycelos.wire.problems import ProblemCode, Refusal


def test_a_header_is_read_once() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"\xe9")]}
    assert single_header(scope, b"a") == "1"
    assert single_header(scope, b"b") == "é"
    assert single_header(scope, b"c") is None


def test_a_doubled_header_is_refused_even_if_both_say_the_same() -> None:
    with pytest.raises(Refusal) as refused:
        single_header({"headers": [(b"a", b"1"), (b"a", b"1")]}, b"a")
    assert refused.value.problem.code is ProblemCode.INVALID_REQUEST
