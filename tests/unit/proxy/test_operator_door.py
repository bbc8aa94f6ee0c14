import contextlib
import functools
import http.client
import json
import queue
import socket
from typing import Any

import pytest

from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.operator_door import BODY_LIMIT
from mycelos.wire.operator import (
    ANY_HOST,
    SECRET_LIMIT,
    AddRule,
    BindCredential,
    ListRules,
    RemoveRule,
    RotateCredential,
    SetWeb,
    StoreCredential,
)
from mycelos.wire.problems import ProblemCode, Refusal

SECRET = "canary-41c7e0d2"

POSTS = (
    "/credential/store", "/credential/rotate", "/credential/bind", "/credential/delete", "/credential/list",
    "/credential/templates", "/egress/rules", "/link/create", "/link/redeem", "/session/end",
)  # fmt: skip
ROUTES = [*(("POST", path) for path in POSTS), ("GET", "/status"), ("GET", "/audit/events"), ("GET", "/nowhere")]


def ask(
    system: Any, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, Any], dict[str, str]]:
    connection = http.client.HTTPConnection("operator", timeout=30)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(system.layout.operator_socket))
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Connection": "close"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    with contextlib.closing(connection):
        # A body that is too long is refused while it is being sent.
        with contextlib.suppress(BrokenPipeError):
            connection.request(method, path, data, sent)
        answer = connection.getresponse()
        content = answer.read()
    return answer.status, json.loads(content), {name.lower(): value for name, value in answer.getheaders()}


def bearer(system: Any) -> str:
    return f"Bearer {system.layout.operator_token.read_text()}"


def store(system: Any, service: str = "github", **changes: Any) -> Any:
    message = {"service": service, "secret": SECRET, "template": "github", **changes}
    return system.client.store(StoreCredential(**message))


def refusal(function: Any, *arguments: Any) -> Any:
    with pytest.raises(Refusal) as caught:
        function(*arguments)
    return caught.value.problem


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


def test_without_the_check_of_the_token_anyone_could_list(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def let_in(_scope: object) -> None:
        pass

    monkeypatch.setattr(operator_system.door, "_authenticate", let_in)
    assert ask(operator_system, "POST", "/credential/list", {})[0] == 200


def test_a_credential_is_stored_on_record_and_never_shown(operator_system: Any) -> None:
    stored = store(operator_system)
    assert (stored.service, stored.label, stored.version) == ("github", "github", 1)
    assert {binding.host for binding in stored.bindings} == {"api.github.com"}
    assert operator_system.client.credentials().credentials == (stored,)
    intent, outcome = operator_system.events("credential.stored")
    assert (intent["phase"], intent["source"], intent["subject"]) == ("intent", "operator", "github")
    assert intent["details"]["hosts"] == ["https://api.github.com:443"]
    assert (outcome["phase"], outcome["outcome"]) == ("outcome", "ok")
    assert outcome["details"]["credential_id"] == stored.id
    for path in operator_system.layout.root.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes()
    assert SECRET not in json.dumps(operator_system.client.audit_events(limit="100"))


def test_each_change_is_on_record_in_two_entries(operator_system: Any) -> None:
    client = operator_system.client
    stored = store(operator_system)
    client.rotate(RotateCredential(service="github", secret="another-one"))
    client.bind(BindCredential(service="github", bindings=stored.bindings[:1], label="less"))
    assert client.credentials().credentials[0].version == 3
    client.delete("github")
    assert client.credentials().credentials == ()
    for name in ("credential.rotated", "credential.bound", "credential.deleted"):
        assert [entry["phase"] for entry in operator_system.events(name)] == ["intent", "outcome"]


def test_nothing_changes_when_the_ledger_cannot_be_written(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(operator_system)
    rule = operator_system.client.egress_rules(AddRule(method="GET", scheme="https", host="a.example", port=443))

    async def refuse(*_arguments: object, **_about: object) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger cannot be written.", "Free some space.")

    before = operator_system.client.credentials()
    monkeypatch.setattr(Recorder, "intent", refuse)
    monkeypatch.setattr(Recorder, "fact", refuse)
    client = operator_system.client
    changes = [
        (store, operator_system, "gitlab"),
        (client.rotate, RotateCredential(service="github", secret="x")),
        (client.bind, BindCredential(service="github", bindings=before.credentials[0].bindings[:1])),
        (client.delete, "github"),
        (client.egress_rules, AddRule(method="GET", scheme="https", host="b.example", port=443)),
        (client.egress_rules, RemoveRule(id=rule[0].id)),
        (client.egress_rules, SetWeb(enabled=True)),
        (client.create_link,),
    ]
    for function, *arguments in changes:
        assert refusal(function, *arguments).code is ProblemCode.AUDIT_UNAVAILABLE
    monkeypatch.undo()
    assert operator_system.client.credentials() == before
    assert operator_system.client.egress_rules(ListRules()) == rule


def test_a_refused_change_has_its_outcome_on_record(operator_system: Any) -> None:
    store(operator_system)
    problem = refusal(store, operator_system)
    assert (problem.code, problem.status) == (ProblemCode.CONFLICT, 409)
    assert "rotate" in problem.next
    outcome = operator_system.events("credential.stored")[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "conflict")


def test_a_failure_answers_without_its_text_and_is_on_record(
    operator_system: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_arguments: object) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(operator_system.vault, "store", fail)
    # The answer leaves before the line is written: the test waits for the line.
    lines: queue.Queue[str] = queue.Queue()
    caplog.handler.addFilter(lambda record: lines.put(caplog.handler.format(record)) or True)
    problem = refusal(store, operator_system)
    assert problem.code is ProblemCode.INTERNAL
    assert SECRET not in str(problem)
    line = lines.get(timeout=20)
    assert "RuntimeError" in line
    assert SECRET not in line
    outcome = operator_system.events("credential.stored")[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("failed", "RuntimeError")


def test_confirm_is_laid_over_a_templates_bindings(operator_system: Any) -> None:
    assert all(binding.confirm for binding in store(operator_system, confirm=True).bindings)


def test_an_unknown_template_names_those_that_exist(operator_system: Any) -> None:
    problem = refusal(lambda: store(operator_system, template="githob"))
    assert problem.detail.startswith("template: ")
    assert "github" in problem.next
    assert {template.name for template in operator_system.client.templates()} >= {"github", "openai", "telegram"}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "Not valid JSON"),
        (b"{", "Not valid JSON"),
        (b"[]", "Expected `object`"),
        (b"\xff\xfe", "Not valid"),
        ({"service": "github"}, "missing required field `secret`"),
        ({"service": "github", "secret": SECRET, "template": "github", "more": 1}, "unknown field `more`"),
        ({"service": SECRET * 9, "secret": SECRET, "template": "github"}, "service: expected"),
        ({"service": "github", "secret": f"{SECRET}\n", "template": "github"}, "secret: it holds a line break"),
        ({"service": "github", "secret": "", "template": "github"}, "secret: it is empty"),
        ({"service": "github", "secret": SECRET, "label": "a\u202eb", "template": "github"}, "label: expected"),
        ({"service": "github", "secret": SECRET}, "bindings: expected either"),
        ({"service": "github", "secret": SECRET, "bindings": [{"v": 1}]}, "missing required field"),
        ({"service": "github", "secret": SECRET, "bindings": [{"v": SECRET}]}, "request.bindings[0].v"),
    ],
)
def test_a_malformed_request_gets_an_error_that_names_the_field_and_not_the_secret(
    operator_system: Any, body: Any, detail: str
) -> None:
    status, problem, _ = ask(operator_system, "POST", "/credential/store", body, Authorization=bearer(operator_system))
    assert (status, problem["code"]) == (400, "invalid_request")
    assert detail in problem["detail"]
    assert SECRET not in json.dumps(problem)
    assert operator_system.client.credentials().credentials == ()


def test_a_request_is_json_of_a_bounded_size(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    status, problem, _ = ask(operator_system, "POST", "/credential/list", b"{}", **headers, Content_Type="text/plain")
    assert (status, problem["code"]) == (400, "invalid_request")
    big = b'{"service": "' + b"a" * BODY_LIMIT + b'"}'
    status, problem, _ = ask(operator_system, "POST", "/credential/list", big, **headers)
    assert (status, problem["code"]) == (413, "too_large")
    longest = {"service": "big", "secret": "\u20ac" * (SECRET_LIMIT // 3), "template": "github"}
    assert ask(operator_system, "POST", "/credential/store", longest, **headers)[0] == 201


def test_unknown_routes_and_methods_are_refused(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    assert ask(operator_system, "POST", "/nowhere", {}, **headers)[1]["code"] == "not_found"
    assert ask(operator_system, "GET", "/credential/store", **headers)[1]["code"] == "method_not_allowed"


def test_egress_rules_are_listed_added_and_removed_on_record(operator_system: Any) -> None:
    rules = operator_system.client.egress_rules
    assert rules(ListRules()) == ()
    (added,) = rules(AddRule(method="GET", scheme="https", host="a.example", port=443))
    assert (added.method, added.scheme, added.host, added.port) == ("GET", "https", "a.example", 443)
    assert {rule.host for rule in rules(SetWeb(enabled=True))} == {"a.example", ANY_HOST}
    assert rules(SetWeb(enabled=False)) == (added,)
    assert rules(RemoveRule(id=added.id)) == ()
    assert refusal(rules, RemoveRule(id=added.id)).code is ProblemCode.NOT_FOUND
    assert [entry["phase"] for entry in operator_system.events("egress.rule_changed")] == ["intent", "outcome"] * 5
    headers = {"Authorization": bearer(operator_system)}
    status, problem, _ = ask(operator_system, "POST", "/egress/rules", {"action": "burn"}, **headers)
    assert (status, problem["code"]) == (400, "invalid_request")


def test_a_link_is_good_once_and_both_tries_are_on_record(operator_system: Any) -> None:
    created = operator_system.client.create_link()
    operator_system.client.redeem_link(created.code)
    problem = refusal(operator_system.client.redeem_link, created.code)
    assert problem.code is ProblemCode.FORBIDDEN
    assert "mycelos open --operator" in problem.next
    operator_system.client.end_session()
    for name in ("link_created", "login", "login_failed", "logout"):
        (entry,) = operator_system.events(f"operator.{name}")
        assert entry["source"] == "operator"
        assert created.code not in json.dumps(entry)


def test_status_tells_what_the_proxy_is(operator_system: Any) -> None:
    store(operator_system)
    status = operator_system.client.status()
    assert (status.credentials, status.damaged, status.egress_rules) == (1, 0, 0)
    assert status.key_slot == operator_system.vault.keys.kid


def test_events_are_read_with_the_filters_of_the_command_line(operator_system: Any) -> None:
    store(operator_system)
    ask(operator_system, "GET", "/status")
    suspicious = operator_system.client.audit_events(suspicious="true")
    assert [entry["event"] for entry in suspicious] == ["proxy.auth_failed"]
    stored = operator_system.client.audit_events(event="credential.stored", limit="1")
    assert len(stored) == 1
    for query in ({"limit": "x"}, {"after": "-2"}, {"limit": "9" * 40}, {"since": "zzz"}, {"sinse": "1h"}):
        assert (
            refusal(functools.partial(operator_system.client.audit_events, **query)).code is ProblemCode.INVALID_REQUEST
        )
