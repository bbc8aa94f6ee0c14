from __future__ import annotations

import time

import pytest

from mycelos.ledger.events import Event
from mycelos.prove import twin as module
from mycelos.prove.name_server import NameServer
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Method
from mycelos.wire.operator import AddRule


def test_a_twin_is_a_working_proxy_and_leaves_nothing_behind():
    with Upstream() as upstream, Twin(upstream.port) as twin:
        folder = twin.folder
        answer = twin.use(f"http://127.0.0.1:{upstream.port}/bound/x")
        assert answer.status == 200
        assert twin.canary in upstream.requests[0]
        assert "proxy.http_request" in {entry.event for entry in twin.entries()}
        assert twin.operator.status().credentials == 1
        with twin._connect() as connection:
            assert not connection.get_inheritable()
        assert twin.pid > 1
        twin.stop()
        with pytest.raises(CannotShowError):
            twin.use("http://127.0.0.1/")
        with pytest.raises(CannotShowError):
            assert twin.pid
    assert not folder.exists()


def test_a_twin_forwards_a_target_as_it_is_with_headers_that_stand_twice():
    with Upstream() as upstream, Twin(upstream.port) as twin:
        target = f"/forward/http/{upstream.authority}/bound/x"
        assert twin.forward(target, [("Mycelos-Credential", "canary")]).status == 200
        twice = twin.forward(target, [("Mycelos-Credential", "canary")] * 2)
        assert (twice.status, twice.code) == (400, "invalid_request")
        absolute = twin.forward(f"http://{upstream.authority}/bound/x")
        assert (absolute.status, absolute.code) == (400, "invalid_request")
        assert len(upstream.requests) == 1
        # The door does not wait for the entry of what it refuses by itself.
        end = time.monotonic() + 20
        while Event.PROXY_BINDING_VIOLATION not in {entry.event for entry in twin.entries()}:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert twin.entries(twin.entries()[-1].seq) == []


def test_a_twin_asks_the_name_server_that_it_is_given_and_opens_what_it_is_told_to():
    with (
        Upstream(host="127.0.0.2") as other,
        NameServer({}) as server,
        Twin(1, (other.authority,), dns=server.port) as twin,
    ):
        twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host="a.example.com", port=1))
        twin.operator.egress_rules(AddRule(method=Method.GET, scheme="http", host="127.0.0.2", port=other.port))
        assert twin.use("http://a.example.com:1/", with_credential=False).code == "resolution_failed"
        assert server.asked["a.example.com"] > 0
        assert twin.use(f"http://{other.authority}/", with_credential=False).status == 200


def test_a_twin_that_does_not_start_shows_nothing_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", "raise SystemExit(1)")
    twin = Twin(1)
    with pytest.raises(CannotShowError, match="does not start"):
        twin.__enter__()
    assert not twin.folder.exists()


def test_a_program_that_ends_without_a_word_is_not_waited_for_in_vain(monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", "print('ready')")
    with pytest.raises(CannotShowError), Twin(1):
        pass


def test_a_problem_s_code_is_read_and_anything_else_has_none():
    assert Answer(403, {"code": "ssrf_blocked"}).code == "ssrf_blocked"
    assert Answer(200, {"status": 200}).code == ""
    assert Answer(500, "text").code == ""


def test_every_byte_of_an_answer_is_given_also_of_one_that_is_no_json():
    with Upstream() as upstream, Twin(upstream.port) as twin:
        found = twin.everything(
            "GET", f"/forward/http/{upstream.authority}/bound/x", [("Mycelos-Credential", "canary")]
        )
        assert found.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"you_sent" in found
        twin.stop()
        with pytest.raises(CannotShowError):
            twin.everything("GET", "/healthz")


def test_a_loud_twin_writes_what_its_libraries_say_and_another_does_not():
    with Twin(1) as twin:
        assert b"DEBUG" not in twin.log.read_bytes()
    with Twin(1, loud=True) as twin:
        assert b"DEBUG" in twin.log.read_bytes()


def test_a_watched_twin_says_what_holds_its_canary_and_another_does_not():
    seen = []
    with Upstream(lambda: seen.append(twin.look())) as upstream, Twin(upstream.port, watched=True) as twin:
        assert twin.look().holders == ()
        twin.use(f"http://127.0.0.1:{upstream.port}/bound/x")
    assert seen[0].holders
    with Twin(1) as twin, pytest.raises(CannotShowError, match="look"):
        twin.look()
