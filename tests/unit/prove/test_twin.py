from __future__ import annotations

import pytest

from mycelos.prove import twin as module
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Answer, Twin
from mycelos.prove.upstream import Upstream


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
        twin.stop()
        with pytest.raises(CannotShowError):
            twin.use("http://127.0.0.1/")
    assert not folder.exists()


def test_a_twin_that_does_not_start_shows_nothing_and_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", ("-I", "-c", "raise SystemExit(1)"))
    twin = Twin(1)
    with pytest.raises(CannotShowError, match="does not start"):
        twin.__enter__()
    assert not twin.folder.exists()


def test_a_program_that_ends_without_a_word_is_not_waited_for_in_vain(monkeypatch):
    monkeypatch.setattr(module, "PROGRAM", ("-I", "-c", "print('ready')"))
    with pytest.raises(CannotShowError), Twin(1):
        pass


def test_a_problem_s_code_is_read_and_anything_else_has_none():
    assert Answer(403, {"code": "ssrf_blocked"}).code == "ssrf_blocked"
    assert Answer(200, {"status": 200}).code == ""
    assert Answer(500, "text").code == ""
