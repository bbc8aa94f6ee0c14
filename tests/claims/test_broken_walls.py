"""For each probe: its wall is taken away in the real thing, and the probe sees it.

A wall of the proxy is taken away by a program that patches one function and then runs the proxy as it is.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import textwrap
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sandbox_attack import WeakSandbox

from mycelos.ledger.chain import Head
from mycelos.ledger.events import Event
from mycelos.policy.decision import Allow
from mycelos.prove import egress, twin
from mycelos.prove.installation import Installation, find_installation
from mycelos.prove.outcome import Standing
from mycelos.prove.run import prove
from mycelos.prove.upstream import Upstream
from mycelos.proxy.ledger.heads import remember
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.keys import create_master_key
from mycelos.sandbox.installation import find_installation as find_code
from mycelos.sandbox.landlock import ABI_WITH_TRUNCATE, require_abi
from mycelos.sandbox.plan import Mechanism
from mycelos.supervisor.state import SupervisorState


def broken(installation, identifier):
    """What the probe says did not hold."""
    (result,) = prove(installation, [identifier])
    assert result.standing is Standing.BROKEN, result
    return {finding.tried for finding in result.findings if not finding.held}


@pytest.fixture
def stopped(layout):
    """An installation where nothing runs."""
    return Installation(layout, None)


@pytest.fixture
def proxy_without(monkeypatch):
    """A function that makes every twin run the proxy after a patch."""

    def patch(text):
        program = f"{textwrap.dedent(text)}\nfrom mycelos.proxy.main import main\nraise SystemExit(main())\n"
        monkeypatch.setattr(twin, "PROGRAM", ("-I", "-c", program))

    return patch


NO_INTENT = """
    from mycelos.proxy.ledger import recorder

    async def intent(self, event, **about):
        return recorder.Receipt(0, "0" * 64, event, {name: "" for name in recorder._SUBJECTS})

    recorder.Recorder.intent = intent
"""


def test_f1_a_proxy_that_goes_on_without_its_ledger_is_seen(stopped, proxy_without):
    proxy_without(NO_INTENT)
    assert "see it arrive all the same" in broken(stopped, "F1")


def test_l4_a_proxy_that_does_not_record_is_seen(stopped, proxy_without):
    proxy_without(NO_INTENT)
    assert "see a request arrive that is not on record yet" in broken(stopped, "L4")


def test_v1_a_credential_in_plain_on_the_disk_is_seen(stopped, proxy_without):
    proxy_without("""
        import base64, sys
        from pathlib import Path
        from mycelos.proxy.vault import store

        original = store.Vault.store

        async def leaking(self, service, label, bindings, secret):
            folder = Path(sys.argv[sys.argv.index("--data-dir") + 1])
            (folder / "proxy" / "leak").write_bytes(b"x" + base64.b64encode(secret.encode()))
            return await original(self, service, label, bindings, secret)

        store.Vault.store = leaking
    """)
    assert broken(stopped, "V1") == {
        "store a credential, use it, and search every file of the twin for it in every spelling"
    }


def test_d3_a_proxy_that_ignores_bindings_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import binding_check

        binding_check.choose = lambda bindings, request: bindings[0]
    """)
    tried = broken(stopped, "D3")
    assert "send the credential to http://127.0.0.1:THIEF/bound/item" in tried
    assert "see the credential arrive where it is not bound" in tried


def test_s1_a_guard_that_lets_a_private_address_pass_is_seen(stopped, proxy_without, monkeypatch):
    proxy_without("""
        from mycelos.proxy.egress.guard import Guard

        Guard.judge_host = lambda self, url: None
        Guard.judge_addresses = lambda self, url, addresses: tuple(addresses)
    """)
    # Only what is on this machine: the others would be dialled.
    monkeypatch.setattr(egress, "REFUSED", ("http://127.0.0.1:{port}/", "http://127.1:{port}/"))
    tried = broken(stopped, "S1")
    assert "reach http://127.0.0.1:PRIVATE/" in tried
    assert "arrive at a listener of this machine" in tried


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_v2_a_key_that_everybody_can_read_is_seen(stopped, mode):
    create_master_key(stopped.layout).chmod(mode)
    assert broken(stopped, "V2") == {"read .master_key as another user would"}


def test_v2_a_folder_in_which_everybody_can_replace_the_key_is_seen(stopped):
    create_master_key(stopped.layout)
    stopped.layout.root.chmod(0o777)
    assert broken(stopped, "V2") == {"put another file in its place as another user"}


def test_d2_a_gateway_that_can_read_the_key_is_seen(system, monkeypatch):
    monkeypatch.setattr("mycelos.sandbox.probe.confine_gateway", lambda *_: None)
    tried = broken(find_installation(system.layout), "D2")
    assert any("reads the key, the vault, the ledger" in text for text in tried)
    assert any("connects to the operator's" in text for text in tried)


def test_d4_a_gateway_without_its_walls_is_seen(system, monkeypatch):
    monkeypatch.setattr("mycelos.sandbox.probe.confine_gateway", lambda *_: None)
    tried = broken(find_installation(system.layout), "D4")
    assert "the gateway, confined, connects by TCP" in tried
    assert "the gateway, confined, executes a program" in tried


def test_d4_a_running_process_without_a_filter_is_seen(system):
    found = find_installation(system.layout)
    bare = found.state.__class__(
        **{name: getattr(found.state, name) for name in found.state.__struct_fields__ if name != "children"},
        # The proxy has no filter: taken for the gateway, it must be found out.
        children=tuple(
            child.__class__(child.name, found.process("proxy"), child.ready, child.restarts)
            if child.name == "gateway"
            else child
            for child in found.state.children
        ),
    )
    assert "find the running gateway without its walls" in broken(Installation(system.layout, bare), "D4")


def test_b1_a_sandbox_with_a_hole_is_seen(stopped, monkeypatch):
    monkeypatch.setattr(WeakSandbox, "removed", frozenset({"seccomp"}))
    weak = WeakSandbox(Mechanism.BUBBLEWRAP, require_abi(ABI_WITH_TRUNCATE), find_code(), "")
    monkeypatch.setattr("mycelos.sandbox.probe.choose_sandbox", lambda _: weak)
    tried = broken(stopped, "B1")
    assert any("a run, confined, " in text for text in tried)


def test_b1_a_machine_without_a_sandbox_is_seen_with_the_layer_s_name(stopped, monkeypatch):
    from mycelos.sandbox.errors import Layer, SandboxRefused

    def refuse(_):
        raise SandboxRefused(Layer.LANDLOCK, "the kernel has none", "Use another kernel")

    monkeypatch.setattr("mycelos.sandbox.probe.choose_sandbox", refuse)
    (result,) = prove(stopped, ["B1"])
    assert result.standing is Standing.BROKEN
    assert "the wall landlock is missing" in result.findings[0].happened


def test_p1_a_comparison_by_letters_alone_is_seen(stopped, monkeypatch):
    monkeypatch.setattr("mycelos.prove.policy.grants", lambda capability, tool: tool.startswith(capability))
    assert len(broken(stopped, "P1")) == 2


def test_p2_a_broker_that_calls_before_it_decides_is_seen(stopped, monkeypatch):
    monkeypatch.setattr("mycelos.gateway.broker.decide", lambda _capabilities, tool, **_: Allow(tool, "probe"))
    assert "call a tool that is registered and not granted" in broken(stopped, "P2")


def test_p2_a_permit_that_is_good_for_anything_is_seen(stopped, monkeypatch):
    monkeypatch.setattr("mycelos.gateway.tools.permit.Permit.spend", lambda *_: None)
    assert len(broken(stopped, "P2")) == 2


def write_ledger(layout, count=12):
    async def write():
        recorder = await Recorder.open(layout.ledger)
        for number in range(count):
            await recorder.fact(Event.PROXY_SSRF_BLOCKED if number % 3 else Event.PROXY_HTTP_REQUEST)
        head = recorder.head
        await recorder.close()
        return head

    return asyncio.run(write())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_events SET outcome = 'harmless' WHERE seq = 4",
        "DELETE FROM audit_events WHERE seq = 4",
        "DELETE FROM audit_events WHERE seq >= 8",
    ],
)
def test_l2_a_ledger_that_was_tampered_with_is_seen(stopped, change):
    remember(stopped.layout.gateway_head, write_ledger(stopped.layout))
    connection = sqlite3.connect(stopped.layout.ledger, isolation_level=None)
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(change)
    for _, sql in guards:
        connection.execute(sql)
    connection.close()
    assert broken(stopped, "L2") == {"find a fault in the 4 entries here"} or change.endswith(">= 8")
    assert len(broken(stopped, "L2")) == 1


def test_l2_a_ledger_whose_guard_was_taken_away_is_seen(stopped):
    remember(stopped.layout.gateway_head, write_ledger(stopped.layout))
    connection = sqlite3.connect(stopped.layout.ledger, isolation_level=None)
    connection.execute("DROP TRIGGER audit_events_no_delete")
    connection.close()
    assert broken(stopped, "L2") == {"find the table's guards changed"}


def test_l2_a_verification_that_overlooks_an_edit_is_seen(stopped, monkeypatch):
    remember(stopped.layout.gateway_head, write_ledger(stopped.layout))
    monkeypatch.setattr("mycelos.ledger.verify.computed_hash", lambda entry: entry.leaf_hash)
    assert "edit an entry in a copy" in broken(stopped, "L2")


def test_l2_without_a_remembered_head_nothing_is_claimed(stopped):
    write_ledger(stopped.layout)
    (result,) = prove(stopped, ["L2"])
    assert result.standing is Standing.CANNOT_TELL
    assert "audit verify" in result.obstacle


def test_l3_a_filter_that_hides_a_suspicious_event_is_seen(stopped, monkeypatch):
    write_ledger(stopped.layout)
    monkeypatch.setattr("mycelos.proxy.ledger.reader.SUSPICIOUS", frozenset({Event.PROXY_AUTH_FAILED}))
    assert broken(stopped, "L3") == {"find suspicious events that the filter hides"}


def page_at(layout, port):
    """An installation whose page is whatever serves at ``port``."""
    layout.gateway.mkdir(exist_ok=True)
    layout.command_line_token.write_text("x" * 43)
    state = SupervisorState(1, 1, 1, "", "", "127.0.0.1", port, 1, "", "", ())
    return Installation(layout, state)


def test_a2_a_page_that_answers_a_foreign_host_is_seen(layout):
    with Upstream() as answers_all:
        tried = broken(page_at(layout, answers_all.port), "A2")
    assert "read the chats without a session" in tried
    assert "reach it under a foreign name (DNS rebinding)" in tried
    assert "change something from a foreign page" in tried


def test_a2_a_page_that_listens_for_everybody_is_seen(layout):
    server = ThreadingHTTPServer(("0.0.0.0", 0), answering({"/api/status": {}}))
    with serving(server):
        tried = broken(page_at(layout, server.server_address[1]), "A2")
    assert "find the page on another address than this machine's own" in tried


def test_i5_a_list_with_a_field_more_is_seen(layout):
    listed = [{"service": "github", "label": "", "created_at": "", "secret": "x"}]
    document = {"paths": {"/x": {}}, "components": {"schemas": {"X": {"properties": {"client_secret": {}}}}}}
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), answering({"/api/credentials/list": listed, "/openapi.json": document})
    )
    with serving(server):
        tried = broken(page_at(layout, server.server_address[1]), "I5")
    assert tried == {
        "find more than service, label and created_at in the list of credentials",
        "find a field for a secret in the page's 1 routes",
    }


def answering(pages):
    """A handler that knows some paths and answers 404 to the others."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = json.dumps(pages.get(self.path)).encode()
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def test_a_probe_that_cannot_be_run_shows_nothing(stopped):
    for identifier in ("D2", "D4", "A2", "I5"):
        (result,) = prove(stopped, [identifier])
        assert result.standing is Standing.CANNOT_TELL
        assert "mycelos serve" in result.obstacle


def test_a_twin_that_does_not_start_shows_nothing(stopped, monkeypatch):
    monkeypatch.setattr(twin, "PROGRAM", ("-I", "-c", "raise SystemExit(1)"))
    (result,) = prove(stopped, ["V1"])
    assert result.standing is Standing.CANNOT_TELL
    assert "does not start" in result.obstacle


def test_a_head_of_the_future_is_seen(stopped):
    write_ledger(stopped.layout)
    remember(stopped.layout.gateway_head, Head(99, "ab" * 32))
    assert len(broken(stopped, "L2")) == 1
