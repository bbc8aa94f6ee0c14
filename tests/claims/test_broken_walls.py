"""For each probe: its wall is taken away in the real thing, and the probe sees it.

A wall of the proxy is taken away by a program that patches one function and then runs the proxy as it is.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from sandbox_attack import WeakSandbox
from taken_walls import broken

from mycelos.policy.decision import Allow
from mycelos.prove import bindings, egress, twin
from mycelos.prove.installation import Installation, find_installation
from mycelos.prove.outcome import Standing
from mycelos.prove.run import prove
from mycelos.prove.upstream import Upstream
from mycelos.proxy.backup import create
from mycelos.proxy.vault import records
from mycelos.proxy.vault.keys import create_master_key
from mycelos.sandbox.installation import find_installation as find_code
from mycelos.sandbox.landlock import ABI_WITH_TRUNCATE, require_abi
from mycelos.sandbox.plan import Mechanism
from mycelos.supervisor.state import SupervisorState


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


def test_v1_a_start_that_takes_an_old_copy_is_seen(stopped, monkeypatch):
    monkeypatch.setattr("mycelos.proxy.rollback.demand_newest", lambda *_arguments, **_named: None)
    # What was signed last lies beside the ledger and is a second wall.
    monkeypatch.setattr("mycelos.proxy.ledger.signed_end._demand_last_signed", lambda *_arguments, **_named: None)
    assert broken(stopped, "V1") == {
        "put an old copy of the vault beside the newest ledger",
        "put an old copy of the ledger beside the newest vault",
    }


def test_d3_a_proxy_that_ignores_bindings_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import binding_check

        binding_check.choose = lambda bindings, request: bindings[0]
    """)
    tried = broken(stopped, "D3")
    assert "use the credential at an unbound port" in tried
    assert "see the credential arrive where it is not bound" in tried


@pytest.mark.parametrize(
    ("field", "attempts"),
    [
        ("host", {"at an unbound host", "by /forward at an unbound host"}),
        ("port", {"at an unbound port", "by /forward at an unbound port", "by /forward behind another authority"}),
        ("methods", {"by an unbound method", "by /forward by an unbound method"}),
        ("path", {"at an unbound path", "at a path that leaves by dots", "by /forward with a whole URL as the path"}),
        ("query", {"with a key of the caller's in the query"}),
        ("inject", {"injected as header:X-Seen", "by Mycelos-Inject-As"}),
    ],
)
def test_d3_a_proxy_that_ignores_one_field_of_a_binding_is_seen(stopped, proxy_without, field, attempts):
    proxy_without(f"""
        from mycelos.proxy.egress import binding_check

        original = binding_check.violations
        binding_check.violations = lambda *given: tuple(name for name in original(*given) if name != "{field}")
    """)
    tried = broken(stopped, "D3")
    assert {f"use the credential {attempt}" for attempt in attempts} <= tried
    assert "arrive anywhere by one of these" in tried


def test_d3_a_proxy_that_takes_any_approval_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import approval_check

        approval_check.judge = lambda held, asked, *, is_on_its_way: None
    """)
    tried = broken(stopped, "D3")
    assert "use the credential that waits for a person, with a made-up approval" in tried
    assert "use the credential by a made-up Mycelos-Approval" in tried


def test_d3_a_proxy_that_does_not_compare_what_was_approved_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import approval_check

        original = approval_check.judge

        def judge(held, asked, *, is_on_its_way):
            if held is not None and held.state is approval_check.State.APPROVED:
                return held
            return original(held, asked, is_on_its_way=is_on_its_way)

        approval_check.judge = judge
    """)
    assert "send another body under it" in broken(stopped, "D3")


def test_d3_a_proxy_that_takes_an_approval_twice_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.approvals import Approvals

        Approvals.spend = lambda self, approval: None
    """)
    assert broken(stopped, "D3") == {"send the approved request a second time"}


def test_d3_a_proxy_that_follows_redirects_is_seen(stopped, proxy_without):
    proxy_without("""
        from dataclasses import replace
        from mycelos.proxy.egress.pipeline import EgressPipeline
        from mycelos.proxy.egress.url import parse_url

        original = EgressPipeline._send

        async def following(self, job, *rest):
            exchange = await original(self, job, *rest)
            if exchange.status != 302:
                return exchange
            location = dict(exchange.headers)[b"location"].decode()
            return await original(self, replace(job, url=parse_url(location)), *rest)

        EgressPipeline._send = following
    """)
    tried = broken(stopped, "D3")
    assert "have the bound host redirect it elsewhere, by both forms" in tried
    assert "see the credential arrive where it is not bound" in tried


def test_d3_a_proxy_that_refuses_without_a_record_is_seen(stopped, proxy_without, monkeypatch):
    # Each attempt waits in vain for its record.
    monkeypatch.setattr(bindings, "_RECORD_SECONDS", 0.1)
    proxy_without("""
        from mycelos.proxy.egress.trail import Trail

        async def forget(*_):
            pass

        Trail.refused = forget
    """)
    tried = broken(stopped, "D3")
    assert "use the credential at an unbound host" in tried
    assert "use the credential by /forward with the bound host as a user name" in tried


def test_d3_a_proxy_that_passes_its_own_bearer_on_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import headers

        original = headers.outgoing

        def passing(given, *, with_credential):
            bearer = [(b"x-passed-on", value) for name, value in given if name == b"authorization"]
            return original(given, with_credential=with_credential) + bearer

        headers.outgoing = passing
    """)
    assert broken(stopped, "D3") == {"see the gateway's bearer arrive anywhere"}


def test_d3_a_proxy_that_lets_the_credential_come_back_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.scrub import Scrubber

        original = Scrubber.__init__
        Scrubber.__init__ = lambda self, secrets: original(self, [b"another" for _ in secrets])
    """)
    assert broken(stopped, "D3") == {"let the bound host send the credential back"}


def test_s1_a_guard_that_lets_a_private_address_pass_is_seen(stopped, proxy_without, monkeypatch):
    proxy_without("""
        from mycelos.proxy.egress.guard import Guard

        Guard.judge_host = lambda self, url: None
        Guard.judge_addresses = lambda self, url, addresses: tuple(addresses)
    """)
    # Only what is on this machine: the others would be dialled.
    monkeypatch.setattr(egress, "REFUSED", ("http://127.0.0.1:{port}/", "http://127.1:{port}/"))
    monkeypatch.setattr(egress, "NAMES", on_this_machine())
    tried = broken(stopped, "S1")
    assert "reach http://127.0.0.1:PRIVATE/" in tried
    assert "reach a name with 127.0.0.1" in tried
    assert "reach an alias of a name with 127.0.0.1" in tried
    assert "arrive at a listener of this machine" in tried


def test_s1_a_guard_that_judges_the_first_address_alone_is_seen(stopped, proxy_without, monkeypatch):
    proxy_without("""
        from mycelos.proxy.egress.guard import Guard

        original = Guard.judge_addresses

        def first_alone(self, url, addresses):
            # In the order in which a name with both families is answered: the public one first.
            ordered = sorted(addresses, key=lambda address: -address.version)
            original(self, url, ordered[:1])
            return tuple(ordered)

        Guard.judge_addresses = first_alone
    """)
    monkeypatch.setattr(egress, "NAMES", on_this_machine())
    tried = broken(stopped, "S1")
    assert "reach a name with 2d00::1 and 127.0.0.1" in tried
    assert "arrive at a listener of this machine" in tried
    assert "reach a name with 127.0.0.1" not in tried


def test_s1_a_proxy_that_dials_another_address_than_the_one_checked_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.pipeline import EgressPipeline

        original = EgressPipeline._checked_addresses

        async def resolving_again(self, url):
            checked = await original(self, url)
            return checked if url.address else await self._resolver.resolve(url.host)

        EgressPipeline._checked_addresses = resolving_again
    """)
    assert broken(stopped, "S1") == {"be public when checked and loopback when dialled"}


@pytest.fixture(autouse=True)
def attacked_from_here(monkeypatch):
    """S1 is attacked in this process, where the changed twin is; these tests run where only loopback is."""
    monkeypatch.setattr(egress, "run_without_uplink", lambda _module: egress.attack())


def on_this_machine():
    """The names of the probe whose addresses are on this machine, or nobody's."""
    near = {"127.0.0.1", "::1", "::ffff:127.0.0.1", "inner.example.com", egress.UNREACHABLE}
    return tuple((name, records) for name, records in egress.NAMES if {record.value for record in records} <= near)


def test_s2_a_proxy_that_sends_the_placeholder_as_it_is_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import inject

        inject.refuse_stray_placeholder = lambda *_, **__: None
    """)
    tried = broken(stopped, "S2")
    assert "send the placeholder as it is, in header, query or body, for a bearer credential" in tried
    assert "send the placeholder as it is, in header, query or body, for no credential" in tried
    assert "send the placeholder as it is, in a path where none is put" in tried


def test_s2_a_credential_that_is_put_in_before_the_checks_is_seen(stopped, proxy_without):
    proxy_without("""
        from dataclasses import replace
        from mycelos.proxy.egress import binding_check, inject
        from mycelos.proxy.egress.pipeline import EgressPipeline
        from mycelos.proxy.egress.trail import Said

        # That what a request says of itself holds no stored secret is a second wall.
        Said.demand_clean = lambda self: None

        # The binding is asked about the template, as it stands before; what is sent is parsed from the text after.
        original_open, original_inject = EgressPipeline.open, inject.inject
        binding_check.choose = lambda bindings, request: bindings[0]

        def substituting(self, call):
            credential = None if call.service is None else self._vault.find(call.service)
            if credential is not None:
                with self._vault.open_secret(credential) as secret:
                    call = replace(call, url=call.url.replace("{credential}", secret.reveal().decode()))
            return original_open(self, call)

        def injecting(injection, secret, url):
            if isinstance(injection, inject.UrlPath):
                return url.target.encode("ascii"), []
            return original_inject(injection, secret, url)

        EgressPipeline.open = substituting
        inject.inject = injecting
    """)
    tried = broken(stopped, "S2")
    assert "put the credential into the host" in tried
    assert "put the credential into the query" in tried
    assert "change path, query or host by what the secret is" in tried


def test_s2_a_secret_that_is_put_into_the_path_unescaped_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import inject
        from mycelos.wire import operator

        # A secret of dots meets two walls: the vault's door, and the escaping.
        operator.SECRET_MINIMUM = 1
        inject._put_into_path = lambda url, secret: url.target.replace("{credential}", secret.decode()).encode()
    """)
    assert broken(stopped, "S2") == {
        "change path, query or host by what the secret is",
        "leave the path by a secret of dots",
        "put the credential into two places of the path",
    }


def test_s2_a_caller_s_header_beside_the_injected_one_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import headers

        original = headers._never_sent
        headers.WITH_CREDENTIAL |= {b"x-api-key"}
        headers._never_sent = lambda name: name != b"x-api-key" and original(name)
    """)
    tried = broken(stopped, "S2")
    assert "have 8 keys of the caller's ride along /http with the credential canary" in tried
    assert "have 8 keys of the caller's ride along /forward with the credential header" in tried
    assert "send the gateway's bearer or the caller's keys where no credential is asked for" in tried


def test_s2_a_line_break_in_a_header_is_seen(stopped, proxy_without):
    proxy_without("""
        import re
        from dataclasses import replace
        from mycelos.proxy.egress import headers, http_client

        headers._NAME = headers._VALUE = re.compile(rb"(?s).*")

        # The last look, at the head as a whole, is a second wall: it is shown other bytes than those that are sent.
        original, hidden = http_client._head, ((b"\\r", b"\\1"), (b"\\n", b"\\2"), (b"\\0", b"\\3"))

        def hide(data):
            for evil, harmless in hidden:
                data = data.replace(evil, harmless)
            return data

        def head(url, request):
            pairs = [(hide(name), hide(value)) for name, value in request.headers]
            sent = original(url, replace(request, headers=pairs))
            for evil, harmless in hidden:
                sent = sent.replace(harmless, evil)
            return sent

        http_client._head = head
    """)
    tried = broken(stopped, "S2")
    assert "break a header by its value, with a credential and without" in tried
    assert "break a header by the value of one that may ride along, with a credential and without" in tried


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
    assert "the gateway, confined, takes a lease on a file, which makes others wait for it" in tried
    assert "the gateway, confined, sets a filter or a limit on a socket that others use after it" in tried


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
    for what in (
        "makes a program that runs as its user for everybody, outside of the walls",
        "sets a filter or a limit",
    ):
        assert any(text.startswith(f"a program, confined, {what}") for text in tried)


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


def page_at(layout, port):
    """An installation whose page is whatever serves at ``port``."""
    layout.gateway.mkdir(parents=True, exist_ok=True)
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
    monkeypatch.setattr(twin, "PROGRAM", "raise SystemExit(1)")
    (result,) = prove(stopped, ["V1"])
    assert result.standing is Standing.CANNOT_TELL
    assert "does not start" in result.obstacle


def test_v2_a_rotation_that_leaves_the_old_slot_in_place_is_seen(stopped, proxy_without):
    create_master_key(stopped.layout)
    proxy_without("""
        from types import SimpleNamespace
        from mycelos.proxy.tables import KEY_SLOTS
        from mycelos.proxy.vault import hazmat, rotation, slots

        def keep():
            return KEY_SLOTS.update().values(wraps=KEY_SLOTS.c.wraps)

        def open_one(connection, kid, master_key):
            slot, = (slot for slot in slots._read_slots(connection) if slot.kid == kid)
            return hazmat.open_slot(master_key, slot)

        rotation.KEY_SLOTS = SimpleNamespace(delete=keep, c=KEY_SLOTS.c)
        slots.demand_only_slot = open_one
    """)
    assert broken(stopped, "V2") == {"change the master key (in a twin) and open the vault with the old one"}


def test_v2_a_restore_that_parks_nothing_is_seen(stopped, monkeypatch):
    create_master_key(stopped.layout)
    monkeypatch.setattr(records, "park_all", lambda *_arguments: [])
    assert broken(stopped, "V2") == {"restore a backup and use its credential without the operator's word"}


def test_v2_a_backup_that_holds_the_key_is_seen(stopped, monkeypatch):
    create_master_key(stopped.layout)

    def with_key(layout, folder):
        (folder / "operator.toml").write_bytes(b"# " + layout.master_key.read_bytes())
        return {"operator.toml": folder / "operator.toml"}

    monkeypatch.setattr(create, "_copy_settings", with_key)
    assert broken(stopped, "V2") == {"find the master key in what a backup decrypts to, in every spelling"}
