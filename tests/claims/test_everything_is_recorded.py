"""L1: every route and every command that changes something is used for real, and its event stands in the ledger.

Both are taken from the applications themselves: what is new and stands in no table here fails the walk.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest
from recorded_walk import Walk, walked_system
from software_authenticator import SoftwareAuthenticator
from there_is import commands_of, gateway_routes, operator_routes, page_routes, vault_page_routes
from vault_page import enrol, new_fields, options_of, served_vault_page

from mycelos.cli.main import make_app
from mycelos.ledger.events import Event
from mycelos.prove import everything
from mycelos.prove.everything import GATEWAY, OPERATOR, QUIET, STEPS, at_the_operators_door
from mycelos.prove.twin import Twin
from mycelos.wire.operator import ListRules, StoreCredential

if TYPE_CHECKING:
    from collections.abc import Iterator

SAFE = {"GET", "HEAD"}
MODEL = {"format": "openai", "model": "m"}


# The proxy's two doors


def test_each_route_of_the_proxy_stands_in_the_walk():
    walked = {(step.door, step.method, step.route) for step in STEPS} | set(QUIET)
    doors = {(OPERATOR, *route) for route in operator_routes()}
    doors |= {(GATEWAY, method, path) for method, path in gateway_routes() if not path.startswith("/forward/")}
    assert doors - walked == set()
    assert {route for route in set(QUIET) if route not in doors} == set()


def test_what_only_reads_leaves_nothing():
    with Twin(9) as twin:
        for (door, method, path), (reason, sent) in QUIET.items():
            before = twin.entries(), twin.operator.status()
            target, body = (f"{path}?{sent}" if sent else path, None) if method == "GET" else (path, sent)
            if door == GATEWAY:
                status = twin.gateway(method, target, body).status
            else:
                status = at_the_operators_door(twin, method, target, body)
            assert status in {200, 201}, path
            assert reason
            assert (twin.entries(), twin.operator.status()) == before, path


# The vault page


def test_each_form_of_the_vault_page_leaves_its_event():
    key = SoftwareAuthenticator()
    walked = {"/login/passkey"}  # A challenge in memory: its answer is recorded.
    with Twin(9) as twin, served_vault_page(twin.layout) as page:

        def expect(event, route, act, status=303):
            before = len(twin.entries())
            answer = act()
            left = {entry.event for entry in twin.entries(before - 1)}
            assert answer.status_code == status, (route, answer.text)
            assert event in left, (route, event, left)
            walked.add(route)

        def submit(form, /, **fields):
            return lambda: page.submit(form, **fields)

        code = twin.operator.create_link().code
        expect(Event.OPERATOR_LOGIN_FAILED, "/login", lambda: page.sign_in("guessed"), 403)
        expect(Event.OPERATOR_LOGIN, "/login", lambda: page.sign_in(code))
        fields = new_fields(host="http://127.0.0.1:9")
        expect(Event.CREDENTIAL_STORED, "/credentials/new", submit("/credentials/new", **fields))
        rotate = submit("/credentials/example/rotate", secret="another-secret")
        expect(Event.CREDENTIAL_ROTATED, "/credentials/{service}/rotate", rotate)
        where = {"label": "", "host": "http://127.0.0.1:9", "path_prefix": "", "methods": ["GET"], "inject": "bearer",
                 "inject_name": "", "version": "2"}  # fmt: skip
        expect(Event.CREDENTIAL_BOUND, "/credentials/{service}/bind", submit("/credentials/example/bind", **where))
        expect(
            Event.PROXY_HTTP_REQUEST, "/credentials/{service}/test", submit("/credentials/example/test", path="/"), 200
        )
        confirm = submit("/credentials/example/confirm")
        expect(Event.CREDENTIAL_CONFIRMED, "/credentials/{service}/confirm", confirm)
        expect(Event.CREDENTIAL_DELETED, "/credentials/{service}/delete", submit("/credentials/example/delete"))
        expect(
            Event.EGRESS_RULE_CHANGED, "/rules/add", submit("/rules/add", host="http://127.0.0.1:9", methods=["GET"])
        )
        (rule,) = twin.operator.egress_rules(ListRules())
        expect(Event.EGRESS_RULE_CHANGED, "/rules/{id}/remove", submit(f"/rules/{rule.id}/remove"))
        expect(Event.EGRESS_RULE_CHANGED, "/rules/web", submit("/rules/web", enabled="yes"))
        held = hold(twin)
        refuse = submit(f"/approvals/{held.id}", digest=held.digest, decision="refuse")
        expect(Event.CONFIRM_REFUSED, "/approvals/{id}", refuse)
        walked.add("/passkeys/new")  # A challenge in memory: its answer is recorded.
        expect(Event.OPERATOR_PASSKEY_ENROLLED, "/passkeys/enrol", lambda: enrol(page, key))
        (passkey,) = twin.operator.passkeys()
        options = options_of(page.post("/login/passkey", {"passkey": "1"}))
        wrong = {"credential": json.dumps(key.get(options, signature=bytes(64)))}
        expect(
            Event.OPERATOR_LOGIN_FAILED, "/login/passkey/answer", lambda: page.post("/login/passkey/answer", wrong), 403
        )
        expect(Event.OPERATOR_PASSKEY_REMOVED, "/passkeys/{id}/remove", submit(f"/passkeys/{passkey.id}/remove"))
        # One refusal a second is recorded by itself; this is the first.
        expect(Event.OPERATOR_REFUSED, "/lockdown", lambda: page.send("/lockdown", {"form_token": "x"}), 403)
        expect(Event.LOCKDOWN_SET, "/lockdown", submit("/lockdown", enabled="yes"), 200)
        page.sign_in(twin.operator.create_link().code)
        expect(Event.OPERATOR_LOGOUT, "/logout", submit("/logout"))
        page.sign_in(twin.operator.create_link().code)
        expect(Event.OPERATOR_LOGOUT, "/logout/everywhere", submit("/logout/everywhere"))
    assert walked == {path for method, path in vault_page_routes() if method not in SAFE}


def hold(twin):
    """A request that waits for a person."""
    binding = msgspec.structs.replace(twin.binding(9), confirm=True)
    twin.operator.store(StoreCredential(service="asked", secret="asked-secret", bindings=(binding,)))
    twin.use("http://127.0.0.1:9/bound/x", inject_credential="asked")
    (held,) = twin.operator.approvals()
    return held


# The gateway and the command line


@pytest.fixture(scope="module")
def walk() -> Iterator[Walk]:
    folder = Path(tempfile.mkdtemp(prefix="m-"))
    folder.chmod(0o755)
    try:
        with walked_system(folder) as walked:
            yield walked
    finally:
        shutil.rmtree(folder, ignore_errors=True)


AT_THE_GATEWAY = {
    ("POST", "/api/auth/link"): (Event.AUTH_LINK_CREATED, lambda w: w.api("POST", "/api/auth/link")),
    ("POST", "/login"): (Event.AUTH_LOGIN, lambda w: w.sign_in()),
    ("POST", "/api/agents"): (Event.AGENT_CREATED, lambda w: w.api("POST", "/api/agents", {"name": "walked"})),
    ("PATCH", "/api/agents/{name}"): (
        Event.AGENT_CHANGED, lambda w: w.api("PATCH", "/api/agents/walked", {"capabilities": ["github.read"]}),
    ),
    ("DELETE", "/api/agents/{name}"): (Event.AGENT_DELETED, lambda w: w.api("DELETE", "/api/agents/walked")),
    ("POST", "/agents"): (Event.AGENT_CREATED, lambda w: w.submit("/agents", name="walked", instructions="")),
    ("POST", "/agents/{name}/grant"): (
        Event.AGENT_CHANGED, lambda w: w.submit("/agents/walked/grant", capability="github.read"),
    ),
    ("POST", "/agents/{name}/remove"): (
        Event.AGENT_CHANGED, lambda w: w.submit("/agents/walked/remove", capability="github.read"),
    ),
    ("POST", "/agents/{name}/delete"): (Event.AGENT_DELETED, lambda w: w.submit("/agents/walked/delete")),
    ("POST", "/api/models"): (
        Event.MODEL_CHANGED,
        lambda w: w.api("POST", "/api/models",
                        {**MODEL, "name": "silent", "base_url": f"http://{w.system.outside['silent']}/v1"}),
    ),
    ("POST", "/api/models/{name}/test"): (
        Event.PROXY_HTTP_REQUEST, lambda w: w.api("POST", "/api/models/scripted/test"),
    ),
    ("POST", "/settings/models"): (
        Event.MODEL_CHANGED,
        lambda w: w.submit("/settings/models", name="paged", base_url="http://127.0.0.1:9/v1", credential="", **MODEL),
    ),
    ("POST", "/settings/models/{name}/delete"): (
        Event.MODEL_CHANGED, lambda w: w.submit("/settings/models/paged/delete"),
    ),
    ("POST", "/api/chats"): (
        Event.CHAT_CREATED, lambda w: w.make("chat", "/api/chats", {"agent": "gardener"}),
    ),
    ("POST", "/api/chats/{chat_id}/messages"): (
        Event.RUN_STARTED,
        lambda w: w.make("run", f"/api/chats/{w.made['chat']}/messages", {"text": "hello", "model": "silent"}),
    ),
    ("POST", "/api/runs/{run_id}/cancel"): (
        Event.RUN_CANCELLED, lambda w: w.api("POST", f"/api/runs/{w.made['run']}/cancel"),
    ),
    ("DELETE", "/api/chats/{chat_id}"): (
        Event.CHAT_DELETED, lambda w: (w.settle(), w.api("DELETE", f"/api/chats/{w.made['chat']}")),
    ),
    ("POST", "/chat"): (
        Event.CHAT_CREATED, lambda w: w.submit("/chat", text="hello", agent="gardener", model="scripted"),
    ),
    ("POST", "/chat/{chat_id}"): (
        Event.RUN_STARTED,
        lambda w: (w.settle(), w.submit(f"/chat/{w.made['chat']}", text="hello", model="silent")),
    ),
    ("POST", "/chat/{chat_id}/cancel"): (
        Event.RUN_CANCELLED, lambda w: w.submit(f"/chat/{w.made['chat']}/cancel", run=w.open_run()),
    ),
    ("DELETE", "/api/models/{name}"): (
        Event.MODEL_CHANGED, lambda w: (w.settle(), w.api("DELETE", "/api/models/silent")),
    ),
    ("POST", "/audit/export"): (Event.AUDIT_DOWNLOADED, lambda w: w.submit("/audit/export", status=200)),
    ("POST", "/api/auth/logout"): (Event.AUTH_LOGOUT, lambda w: w.browser.post("/api/auth/logout")),
    ("POST", "/logout"): (Event.AUTH_LOGOUT, lambda w: (w.sign_in(), w.submit("/logout"))),
    ("POST", "/api/auth/end-all"): (Event.AUTH_SESSION_REVOKED, lambda w: w.api("POST", "/api/auth/end-all")),
}  # fmt: skip


def test_each_change_at_the_gateway_leaves_its_event(walk):
    assert set(AT_THE_GATEWAY) == {(method, path) for method, path in page_routes() if method not in SAFE}
    for event, act in AT_THE_GATEWAY.values():
        walk.expect(event, act)


REFUSED_AT_THE_GATEWAY = {
    "a wrong token": (Event.AUTH_LOGIN_FAILED, 401, "GET", "/api/status", {"Authorization": "Bearer guessed"}),
    "nobody": (Event.AUTH_REFUSED, 401, "POST", "/api/chats", {}),
    "an unknown route": (Event.AUTH_REFUSED, 404, "POST", "/api/nowhere", None),
    "an unknown method": (Event.AUTH_REFUSED, 405, "PUT", "/api/chats", None),
    "a foreign page": (Event.AUTH_REFUSED, 403, "POST", "/login", {"Origin": "https://attacker.example"}),
    "a foreign name": (Event.AUTH_REFUSED, 421, "GET", "/healthz", {"Host": "attacker.example"}),
}
"""None as headers: those of the command line."""


@pytest.mark.parametrize("who", REFUSED_AT_THE_GATEWAY)
def test_what_the_gateway_refuses_leaves_its_event(walk, who):
    event, status, method, path, headers = REFUSED_AT_THE_GATEWAY[who]
    given = walk.system.bearer() if headers is None else headers

    def act(w):
        assert w.attempt(method, path, headers=given) == status

    walk.expect(event, act)


def test_a_form_of_nobody_and_a_guessed_link_leave_their_events(walk):
    walk.sign_in()
    walk.expect(
        Event.AUTH_REFUSED,
        lambda w: w.browser.post("/agents", data={"form_token": "x", "name": "a", "instructions": ""}),
    )
    walk.expect(Event.AUTH_LOGIN_FAILED, lambda w: w.browser.post("/login", data={"code": "guessed"}))


def words(command, *more, code=0):
    return lambda w: w.mycelos(*command.split(), *(word(w) if callable(word) else word for word in more), code=code)


def model_url(w):
    return f"http://{w.system.outside['model']}"


def api_url(w):
    return f"http://{w.system.outside['api']}"


def secret_file(w):
    path = w.folder / "secret"
    path.write_text("walked-secret-value")
    path.chmod(0o600)
    return str(path)


def kept_key(w):
    path = w.folder / "master.key"
    shutil.copy(w.system.layout.master_key, path)
    return str(path)


def arm(w):
    words("credential add telegram --method GET --host", api_url, "--from-file", secret_file)(w)
    words("credential arm telegram --yes")(w)


def rebuild(w):
    """A sound ledger is left alone: one without its index is none."""
    with contextlib.closing(sqlite3.connect(w.system.layout.ledger)) as connection:
        connection.execute("DROP INDEX audit_events_rare")
    words("db audit rebuild")(w)


COMMANDS = {
    "agent add": (Event.AGENT_CREATED, words("agent add walker --model scripted")),
    "agent edit": (Event.AGENT_CHANGED, words("agent edit walker --capability github.read")),
    "agent remove": (Event.AGENT_DELETED, words("agent remove walker")),
    "model add": (Event.MODEL_CHANGED, words("model add walked --model m --url", model_url)),
    "model test": (Event.PROXY_HTTP_REQUEST, words("model test scripted")),
    "model remove": (Event.MODEL_CHANGED, words("model remove walked")),
    "chat": (Event.CHAT_CREATED, words("chat --agent gardener --once hello")),
    "credential add": (
        Event.CREDENTIAL_STORED,
        words("credential add walked --method GET --host", api_url, "--from-file", secret_file),
    ),
    "credential bind": (Event.CREDENTIAL_BOUND, words("credential bind walked --method GET --host", api_url)),
    "credential rotate": (Event.CREDENTIAL_ROTATED, words("credential rotate walked --from-file", secret_file)),
    "credential test": (Event.PROXY_HTTP_REQUEST, words("credential test walked --path /user/repos", code=None)),
    "credential arm": (Event.CREDENTIAL_ARMED, arm),
    "credential delete": (Event.CREDENTIAL_DELETED, words("credential delete walked --yes")),
    "egress allow": (Event.EGRESS_RULE_CHANGED, words("egress allow https://walked.example")),
    "egress remove": (Event.EGRESS_RULE_CHANGED, words("egress remove https://walked.example")),
    "egress web": (Event.EGRESS_RULE_CHANGED, words("egress web on")),
    "approval decide": (Event.CONFIRM_REFUSED, words("approval decide", lambda w: w.held(), "refuse")),
    "open": (Event.AUTH_LINK_CREATED, words("open --print")),
    "backup create": (
        Event.BACKUP_CREATED,
        words("backup create --new-identity", lambda w: str(w.folder / "keys.txt"), "--output",
              lambda w: str(made(w.folder / "kept") / "backup.age")),
    ),
    "db audit export": (
        Event.AUDIT_EXPORTED, words("db audit export --output", lambda w: str(w.folder / "export.jsonl")),
    ),
    "key rotate": (Event.KEY_ROTATED, words("key rotate --name ledger-args-mac")),
    "lockdown": (Event.LOCKDOWN_SET, words("lockdown")),
}  # fmt: skip

BESIDE_A_STOPPED_SYSTEM = {
    "db audit export": (Event.AUDIT_EXPORTED, words("db audit export")),
    "db audit rebuild": (Event.LEDGER_REBUILT, rebuild),
    "key rotate": (Event.KEY_ROTATED, words("key rotate")),
    "backup create": (
        Event.BACKUP_CREATED,
        words("backup create --new-identity", lambda w: str(w.folder / "more.txt"), "--output",
              lambda w: str(w.folder / "kept" / "more.age")),
    ),
    "backup adopt": (Event.LEDGER_RESTORED, words("backup adopt")),
}  # fmt: skip

RESTORE = words("backup restore", lambda w: str(w.folder / "kept" / "more.age"), "--identity",
    lambda w: str(w.folder / "more.txt"), "--master-key-file", kept_key)  # fmt: skip

READING = {
    "agent list": "", "agent show": "gardener", "approval list": "", "approval show": None, "backup verify": None,
    "config check": "", "config show": "", "credential list": "", "credential show": "github",
    "credential templates": "", "db audit": "", "db audit checkpoint": "", "db audit proof": "0",
    "db audit verify": "", "doctor": "", "egress check": "http://127.0.0.1/", "egress list": "", "init": "",
    "key status": "", "model list": "", "policy check": "gardener github.read.issues", "status": "",
}  # fmt: skip
"""Run with these words, they leave no entry. None: they need an argument that is not there, and refuse."""

ELSEWHERE = {
    "demo": "a system of its own in a folder of its own, which has its own ledger",
    "local install": "a model's server beside Mycelos: what is asked of it is asked through the proxy",
    "local start": "the same",
    "local stop": "the same",
    "password set": "prints a hash; what takes it over is the next start",
    "prove": "attacks twins and leaves what its probes leave (test_installation.py)",
    "proxy serve": "what `serve` starts; its start is proxy.started",
    "sandbox probe": "a confined process without this system's folder",
    "sandbox run": "the same",
    "witness serve": "another machine's part: it keeps other logs' checkpoints, and has no ledger",
    "stop": "ends the system; the next start is on record, and what was not finished with it",
}
"""What does not act on an installation that runs, and is not run here."""


def made(folder):
    folder.mkdir()
    return folder


def test_each_command_stands_in_the_walk():
    everything_there_is = {" ".join(found) for found in commands_of(make_app())}
    walked = {
        *COMMANDS,
        *BESIDE_A_STOPPED_SYSTEM,
        *READING,
        *ELSEWHERE,
        "backup restore",
        "serve",
        "credential confirm",
    }
    assert walked == everything_there_is


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_acts_elsewhere_asks_no_door_of_this_system(command):
    """But `prove`, whose probes say what they leave."""
    module = {"local": "local", "password": "password", "sandbox": "sandbox", "demo": "demo"}.get(command.split()[0])
    if module is None:
        return
    source = (Path(everything.__file__).parents[1] / "cli" / f"{module}.py").read_text(encoding="utf-8")
    assert not any(door in source for door in ("gateway_client", "operator_door", "OperatorClient", "Recorder"))


def test_each_command_leaves_its_event(walk):
    for command, arguments in READING.items():
        before = walk.newest()
        words(command, *(arguments or "").split(), code=None)(walk)
        assert walk.events_after(before) == [], command
    for event, act in COMMANDS.values():
        walk.expect(event, act)
    walk.expect(Event.LOCKDOWN_LIFTED, words("lockdown --lift"))
    walk.settle()
    walk.system.stop()
    for event, act in BESIDE_A_STOPPED_SYSTEM.values():
        walk.expect(event, act)
    walk.expect(Event.BACKUP_RESTORED, RESTORE, in_another_ledger=True)
    walk.expect(Event.PROXY_STARTED, lambda w: w.system.start())
    walk.expect(Event.CREDENTIAL_CONFIRMED, words("credential confirm github --yes"))
