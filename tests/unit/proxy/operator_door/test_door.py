import json
import logging
import queue
from typing import Any

import pytest
from operator_requests import SECRET, ask, bearer, refusal, store

from mycelos.wire.problems import ProblemCode

POSTS = (
    "/credential/store", "/credential/rotate", "/credential/bind", "/credential/delete", "/credential/list",
    "/credential/templates", "/egress/rules", "/lockdown", "/link/create", "/link/redeem", "/session/end",
)  # fmt: skip
GATEWAY_TOKEN = "gateways-own-token-000000000000000000000000"
ROUTES = [*(("POST", path) for path in POSTS), ("GET", "/status"), ("GET", "/audit/events"), ("GET", "/nowhere")]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_asks_for_the_token_before_anything_else(operator_system: Any, method: str, path: str) -> None:
    token = operator_system.layout.operator_token.read_text()
    wrong = [{}, {"Authorization": "Bearer "}, {"Authorization": f"Bearer {token[:-1]}"}, {"Authorization": token},
             {"Authorization": f"Bearer {token}x"}, {"Authorization": f"Basic {token}"}]  # fmt: skip
    for headers in wrong:
        status, problem, answered = ask(operator_system, method, path, b"not json", **headers)
        assert (status, problem["code"], answered["mycelos-refused"]) == (401, "unauthorized", "unauthorized")
        assert token not in json.dumps(problem)
    failed = operator_system.events("proxy.auth_failed")
    assert [entry["details"] for entry in failed] == [{"door": "operator"}] * len(wrong)


def test_the_gateways_bearer_opens_no_route_of_this_door(operator_system: Any) -> None:
    # The door's own routes are walked: one that is added is in this test by itself.
    routes = [(method, route.path) for route in operator_system.door._app.routes for method in route.methods - {"HEAD"}]
    assert {("POST", "/credential/store"), ("POST", "/approval/decide"), ("POST", "/passkey/remove")} <= set(routes)
    for method, path in routes:
        answer = ask(operator_system, method, path, {}, Authorization=f"Bearer {GATEWAY_TOKEN}")
        assert answer[0] == 401, path
    assert len(operator_system.events("proxy.auth_failed")) == len(routes)
    assert operator_system.changes == 0


def test_without_the_check_of_the_token_anyone_could_list(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def let_in(_scope: object) -> None:
        pass

    monkeypatch.setattr(operator_system.door, "_authenticate", let_in)
    assert ask(operator_system, "POST", "/credential/list", {})[0] == 200


def test_a_failure_answers_without_its_text_and_is_on_record(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(operator_system.vault, "store", fail)
    # The answer leaves before the line is written: the test waits for the line.
    lines: queue.Queue[str] = queue.Queue()
    handler = caplog.handler

    def keep(record: logging.LogRecord) -> bool:
        lines.put(handler.format(record))
        return True

    handler.addFilter(keep)
    problem = refusal(store, operator_system)
    assert problem.code is ProblemCode.INTERNAL
    assert SECRET not in str(problem)
    line = lines.get(timeout=20)
    handler.removeFilter(keep)
    assert "RuntimeError" in line
    assert SECRET not in line
    outcome = operator_system.events("credential.stored")[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("failed", "RuntimeError")


def test_unknown_routes_and_methods_are_refused(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    assert ask(operator_system, "POST", "/nowhere", {}, **headers)[1]["code"] == "not_found"
    assert ask(operator_system, "GET", "/credential/store", **headers)[1]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("method", "path", "code"), [("POST", "/nowhere", "not_found"), ("PUT", "/lockdown", "method_not_allowed")]
)
def test_who_looks_for_what_is_not_here_is_on_record(operator_system: Any, method: str, path: str, code: str) -> None:
    assert ask(operator_system, method, path, {}, Authorization=bearer(operator_system))[1]["code"] == code
    (entry,) = operator_system.events("proxy.auth_failed")
    assert (entry["reason"], entry["details"]) == ("route", {"door": "operator", "code": code})
