from __future__ import annotations

import pytest
from egress_house import call_for

from mycelos.proxy.egress.call import checked_method, describe
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal


def test_only_methods_that_a_binding_can_name_pass() -> None:
    assert checked_method("GET") == "GET"
    for text in ("get", "TRACE", "CONNECT", "GET ", "G\r\nET", ""):
        with pytest.raises(Refusal) as caught:
            checked_method(text)
        assert caught.value.problem.code is ProblemCode.METHOD_NOT_ALLOWED


def test_the_record_holds_scheme_host_port_and_path_and_never_query_fragment_or_header() -> None:
    url = parse_url("https://example.com/bot{credential}/x?token=1#part")
    call = call_for(str(url), headers=[(b"x-token", b"2")], service="github", purpose="to look")
    assert describe(call, url) == {
        "door": "http", "method": "GET", "purpose": "to look", "service": "github", "scheme": "https",
        "host": "example.com", "port": 443, "path": "/bot{credential}/x",
    }  # fmt: skip


def test_what_is_no_method_or_url_leaves_no_trace_on_record() -> None:
    assert describe(call_for("nonsense", "EVIL\r\n"), None) == {"door": "http"}


def test_a_long_path_is_cut_on_record() -> None:
    url = parse_url("https://example.com/" + "a" * 5000)
    assert len(describe(call_for(str(url)), url)["path"]) == 900
