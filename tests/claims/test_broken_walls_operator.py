"""For each probe of the operator's side: one wall is taken away from the real thing, and the probe sees it."""

from __future__ import annotations

from functools import partial

import pytest
from taken_walls import broken
from vault_page import served_vault_page

from mycelos.operator import browser_rules, rule_pages
from mycelos.operator.browser_rules import BrowserRules
from mycelos.operator.sessions import Session, Sessions, _digest
from mycelos.prove import keeper, vault_page
from mycelos.prove.installation import Installation, find_installation
from mycelos.prove.outcome import Standing
from mycelos.prove.run import prove
from mycelos.prove.twin import Twin
from mycelos.supervisor.code_age import older_than_code
from mycelos.supervisor.state import SupervisorState


def page():
    """The vault page as it is now, before a real proxy, is attacked; what did not hold."""
    with Twin(1) as twin, served_vault_page(twin.layout) as served:
        port = int(served.base.rpartition(":")[2])
        state = SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, port, "", "", ())
        findings = vault_page.probe_vault_page(Installation(twin.layout, state))
    return {finding.tried for finding in findings if not finding.held}


def test_the_vault_page_as_it_is_holds():
    assert page() == set()


def test_v4_a_vault_page_that_answers_a_foreign_name_is_seen(monkeypatch):
    class Everything(frozenset):
        def __contains__(self, name):
            return True

    original = BrowserRules.__init__

    def without_hosts(self, app, origins):
        original(self, app, origins)
        self._hosts = Everything()

    monkeypatch.setattr(BrowserRules, "__init__", without_hosts)
    assert page() == {
        "reach the vault page under a foreign name (DNS rebinding)",
        "reach the vault page under its name with another port",
    }


def test_v4_a_vault_page_that_takes_forms_from_elsewhere_is_seen(monkeypatch):
    monkeypatch.setattr(BrowserRules, "_is_own", lambda *_: True)
    tried = page()
    assert "send the vault page a form from a foreign page" in tried
    assert "end a session by a form from elsewhere" in tried


def test_v4_a_session_without_its_cookie_is_seen(monkeypatch):
    monkeypatch.setattr(Sessions, "find", lambda self, path_token, _: self._sessions.get(_digest(path_token)))
    tried = page()
    assert "open a session's page without its cookie" in tried
    assert "send a session's form without its cookie" in tried


def test_v4_a_session_that_lives_at_any_path_is_seen(monkeypatch):
    def find(self, _path_token, cookies):
        return next((one for one in self._sessions.values() if any(map(one.has_cookie, cookies))), None)

    monkeypatch.setattr(Sessions, "find", find)
    assert "open a session's page by its cookie at a made-up path" in page()


def test_v4_forms_without_a_token_are_seen(monkeypatch):
    monkeypatch.setattr(Session, "accepts", lambda *_: True)
    tried = page()
    assert "send each form of the vault page with a made-up token" in tried
    assert "sign a session out by a form without its token" in tried
    assert "end a session by a form with another token" in tried


def test_v4_one_form_without_a_token_is_seen(monkeypatch):
    monkeypatch.setattr(rule_pages, "demand_own_form", lambda *_: None)
    assert page() == {"send each form of the vault page with a made-up token"}


@pytest.mark.parametrize("name", ["X-Frame-Options", "Content-Security-Policy", "Cache-Control"])
def test_v4_a_vault_page_that_may_be_framed_or_kept_is_seen(monkeypatch, name):
    monkeypatch.delitem(browser_rules.HEADERS, name)
    assert page() == {"show the vault page in a frame, send its forms elsewhere, or keep a copy"}


def test_v4_where_no_vault_page_runs_nothing_is_claimed_of_it(stopped):
    (result,) = prove(stopped, ["V4"])
    assert result.standing is Standing.CANNOT_TELL
    assert result.findings
    assert "mycelos serve" in result.obstacle


@pytest.mark.parametrize(
    ("name", "mode"),
    [("proxy", 0o755), ("operator_token", 0o644), ("operator_socket", 0o666), ("vault", 0o640), ("proxy_token", 0o604)],
)
def test_d2_what_other_users_can_open_is_seen(system, name, mode):
    path = getattr(system.layout, name)
    before = path.stat().st_mode & 0o777
    path.chmod(mode)
    try:
        tried = broken(find_installation(system.layout), "D2")
    finally:
        path.chmod(before)
    assert tried == {"open, replace or own what is private in the data folder as another user"}


def test_d2_a_proxy_that_may_dump_its_core_is_seen(system, proxy_without):
    proxy_without("""
        import resource
        from mycelos.proxy import process

        # As far as this user may: everywhere that is more than nothing.
        most = resource.getrlimit(resource.RLIMIT_CORE)[1]
        process.harden = lambda: resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    """)
    found = find_installation(system.layout)
    with Twin(1) as twin:
        tried = broken(Installation(found.layout, with_proxy(found.state, twin.pid)), "D2")
    assert "have the kernel write the proxy's memory down when it crashes" in tried


def with_proxy(state, pid):
    """The same system, with another process in the proxy's place."""
    others = {name: getattr(state, name) for name in state.__struct_fields__ if name != "children"}
    children = tuple(
        child.__class__(child.name, pid if child.name == "proxy" else child.pid, child.ready, child.restarts)
        for child in state.children
    )
    return state.__class__(**others, children=children)


def test_d2_an_operator_s_door_that_asks_for_no_token_is_seen(proxy_without):
    proxy_without("""
        from mycelos.proxy.operator_door.door import OperatorDoor

        async def anybody(self, scope):
            pass

        OperatorDoor._authenticate = anybody
    """)
    assert len(not_held_at_the_door()) == 4


def test_d2_an_operator_s_door_that_takes_the_gateway_s_bearer_is_seen(proxy_without):
    proxy_without("""
        import os
        from mycelos.proxy.operator_door.door import OperatorDoor

        original, bearer = OperatorDoor._authenticate, b"Bearer " + os.environ["MYCELOS_PROXY_TOKEN"].encode()

        async def both(self, scope):
            if (b"authorization", bearer) not in scope["headers"]:
                await original(self, scope)

        OperatorDoor._authenticate = both
    """)
    assert not_held_at_the_door() == {"open the operator's door with the gateway's bearer"}


def not_held_at_the_door():
    with Twin(1) as twin:
        twin.layout.proxy_token.write_text(twin.bearer)
        findings = keeper.operator_door(twin.layout)
    return {finding.tried for finding in findings if not finding.held}


def test_d3_an_assertion_of_another_page_that_is_taken_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.passkeys import ceremony

        original = ceremony.demand
        ceremony.demand = lambda holds, fault: original(holds or fault is ceremony.Fault.ORIGIN, fault)
    """)
    tried = broken(stopped, "D3")
    assert "sign in with a passkey from a page on another port" in tried
    assert "enrol a passkey from a page on another port" in tried
    assert "approve a request with an assertion of a page on another port, while a passkey is enrolled" in tried


def test_d3_a_decision_without_the_enrolled_passkey_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.passkeys import store

        original = store.demand
        store.demand = lambda holds, fault: original(holds or fault is store.Fault.MISSING, fault)
    """)
    assert broken(stopped, "D3") == {"approve a request without an assertion, while a passkey is enrolled"}


@pytest.mark.parametrize("fault", ["VERIFICATION", "RELYING_PARTY", "SIGNATURE", "CEREMONY"])
def test_d3_an_assertion_that_is_not_looked_at_in_full_is_seen(stopped, proxy_without, fault):
    proxy_without(f"""
        from mycelos.proxy.passkeys import ceremony

        original = ceremony.demand
        ceremony.demand = lambda holds, fault: original(holds or fault is ceremony.Fault.{fault}, fault)
    """)
    (tried,) = broken(stopped, "D3")
    assert tried.startswith("approve a request with an assertion ")


def test_what_was_started_with_other_code_is_not_shown_by_a_twin(system, monkeypatch, tmp_path):
    found = find_installation(system.layout)
    assert [result.standing for result in prove(found, ["P1"])] == [Standing.HOLDS]
    (tmp_path / "changed.py").touch()
    monkeypatch.setattr("mycelos.prove.run.older_than_code", partial(older_than_code, package=tmp_path))
    twin, live = prove(found, ["P1", "V2"])
    assert twin.standing is Standing.CANNOT_TELL
    assert "proxy" in twin.obstacle
    assert "mycelos stop, then mycelos serve" in twin.obstacle
    assert live.standing is Standing.HOLDS
