from __future__ import annotations

import os
import sqlite3
import ssl
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import pytest
from ledger_keys import ledger_keys, note_of

from mycelos.cli import diagnosis
from mycelos.cli.diagnosis import State
from mycelos.ledger.events import Event
from mycelos.prove.ledger_copy import forge_index
from mycelos.proxy.ledger.clock import Moment
from mycelos.proxy.ledger.heads import outside_of, remember
from mycelos.proxy.ledger.recorder import Recorder
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.vault.keys import create_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.supervisor.state import ChildState, SupervisorState
from mycelos.wire.witness import WitnessCondition, WitnessStatus


def one(found, name):
    (it,) = [diagnosis for diagnosis in found if diagnosis.name == name]
    return it


def test_every_finding_that_is_not_well_has_a_fix(layout):
    found = diagnosis.examine(layout)
    assert {"versions", "seccomp", "disk", "clock", "certificates", "routes", "processes"} <= {it.name for it in found}
    assert [it for it in found if it.state is not State.OK and not it.fix] == []


@pytest.mark.parametrize("name", ["master_key", "proxy_token", "operator_file", "vault", "ledger", "gateway_database"])
def test_a_file_that_others_can_open_is_found_and_its_fix_mends_it(layout, name):
    create_master_key(layout)
    path = getattr(layout, name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch()
    path.chmod(0o644)
    found = one(diagnosis._file_modes(layout), "file modes")
    assert found.state is State.FAILED
    assert found.fix == f"chmod 600 {path}"
    path.chmod(int(found.fix.split()[1], 8))
    assert one(diagnosis._file_modes(layout), "file modes").state is State.OK


def test_a_data_folder_that_others_can_write_to_is_found(layout):
    create_master_key(layout)
    layout.root.chmod(0o777)
    assert one(diagnosis._file_modes(layout), "file modes").fix == f"chmod 755 {layout.root}"


def test_a_link_in_the_place_of_a_private_file_is_found(layout, tmp_path):
    layout.master_key.symlink_to(tmp_path / "elsewhere")
    assert "is a link" in one(diagnosis._file_modes(layout), "file modes").found


def test_a_folder_that_was_never_set_up_is_said(layout):
    assert "mycelos init" in one(diagnosis._file_modes(layout), "master key").fix
    layout.root.rmdir()
    assert "mycelos init" in one(diagnosis._file_modes(layout), "data folder").fix


@pytest.mark.parametrize(("free", "state"), [(1 << 40, State.OK), (1 << 29, State.WARNING), (1 << 20, State.FAILED)])
def test_a_full_disk_is_found_before_it_stops_the_ledger(layout, monkeypatch, free, state):
    monkeypatch.setattr(diagnosis.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert diagnosis._disk(layout)[0].state is state


def test_a_missing_wall_is_named_by_its_layer(layout, monkeypatch):
    def refuse(*_):
        raise SandboxRefused(Layer.LANDLOCK, "the kernel has none", "Use another kernel")

    monkeypatch.setattr(diagnosis, "choose_sandbox", refuse)
    monkeypatch.setattr(diagnosis.landlock, "require_abi", refuse)
    for check in (diagnosis._sandbox, diagnosis._landlock):
        (found,) = check(layout)
        assert (found.name, found.state, found.fix) == ("landlock", State.WALL_MISSING, "Use another kernel")


def test_a_sandbox_with_one_wall_of_two_is_a_warning(layout, monkeypatch):
    weaker = diagnosis.choose_sandbox(lambda _: None).__class__
    made = weaker(diagnosis.Mechanism.LANDLOCK, 6, None, "namespaces are refused")
    monkeypatch.setattr(diagnosis, "choose_sandbox", lambda _: made)
    assert diagnosis._sandbox(layout)[0].state is State.WARNING


def test_a_kernel_without_filters_is_a_missing_wall(layout, monkeypatch):
    monkeypatch.setattr(diagnosis.Path, "read_text", lambda *_, **__: "log")
    assert diagnosis._seccomp(layout)[0].state is State.WALL_MISSING


def tampered(statement, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(statement)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: forge_index(path, where="false"), "entry 0: the index of rare entries leaves this entry out"),
        (partial(tampered, "DROP INDEX audit_events_rare"), "its definition was changed: audit_events_rare"),
        (partial(tampered, "ANALYZE"), "its definition was changed: sqlite_stat1"),
        (
            partial(tampered, "UPDATE sqlite_master SET rootpage = 4711 WHERE type = 'index'"),
            "cannot be read",
        ),
    ],
)
async def test_a_damaged_index_under_sound_entries_is_found_and_the_way_out_named(layout, damage, said):
    recorder = await Recorder.open(layout.ledger, keys=ledger_keys)
    await recorder.close()
    assert diagnosis._ledger(layout)[0].state is State.OK
    damage(layout.ledger)
    (found,) = diagnosis._ledger(layout)
    assert (found.state, said in found.found) == (State.FAILED, True)
    assert "mycelos db audit rebuild" in f"{found.found} {found.fix}"


def test_a_machine_that_trusts_no_authority_is_found(layout, monkeypatch, tmp_path):
    monkeypatch.setattr(ssl, "create_default_context", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    paths = ssl.get_default_verify_paths()._replace(openssl_capath=str(tmp_path))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    assert "ca-certificates" in diagnosis._certificates(layout)[0].fix


def test_a_default_route_is_read_from_the_kernel_s_table(tmp_path):
    table = tmp_path / "route"
    head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n"
    table.write_text(head + "eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n")
    assert diagnosis._default_gateways(table) == []
    table.write_text(head + "eth0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n")
    assert diagnosis._default_gateways(table) == ["10.0.2.1"]
    assert diagnosis._default_gateways(tmp_path / "none") == []


@pytest.mark.parametrize("route", [[], ["192.0.2.1"]])
def test_a_machine_without_a_way_out_is_a_warning(layout, monkeypatch, route):
    monkeypatch.setattr(diagnosis, "_default_gateways", lambda _: route)
    monkeypatch.setattr(diagnosis, "_text_of", lambda _: "nameserver 192.0.2.53")
    assert diagnosis._routes(layout)[0].state is (State.OK if route else State.WARNING)


@pytest.mark.anyio
async def test_a_clock_behind_the_ledger_is_found(layout):
    future = (datetime.now(UTC) + timedelta(hours=1)).timestamp()
    recorder = await Recorder.open(layout.ledger, lambda: Moment(future, 0.0))
    await recorder.fact(Event.PROXY_STARTED)
    await recorder.close()
    assert diagnosis._clock(layout)[0].state is State.WARNING
    assert diagnosis._ledger(layout)[0].found == "1 entries"


def test_a_clock_of_long_ago_is_found(layout, monkeypatch):
    monkeypatch.setattr(diagnosis.time, "time", lambda: 1_000_000_000.0)
    assert diagnosis._clock(layout)[0].state is State.FAILED


@pytest.mark.anyio
async def test_a_ledger_without_its_guard_is_found(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.close()
    connection = sqlite3.connect(layout.ledger, isolation_level=None)
    connection.execute("DROP TRIGGER audit_events_no_delete")
    connection.close()
    assert "audit_events_no_delete" in diagnosis._ledger(layout)[0].found


@pytest.mark.parametrize(
    ("children", "state"),
    [
        ([ChildState("proxy", 1, True, 0)], State.OK),
        ([ChildState("proxy", 1, True, 2)], State.WARNING),
        ([ChildState("proxy", None, False, 2)], State.FAILED),
    ],
)
def test_processes_that_are_down_or_came_back_are_found(layout, monkeypatch, children, state):
    monkeypatch.setattr(diagnosis, "read_state", lambda _: SimpleNamespace(children=tuple(children)))
    monkeypatch.setattr(diagnosis, "older_than_code", lambda _: ())
    assert diagnosis._processes(layout)[0].state is state


def test_a_lockdown_is_a_finding_with_its_way_back(operator_system, layout):
    def found():
        return [one for one in diagnosis.examine(layout) if one.name == "egress"]

    assert [(one.state, one.found) for one in found()] == [(State.OK, "not locked down")]
    since = operator_system.client.set_lockdown(enabled=True).since
    (finding,) = found()
    assert (finding.state, finding.found) == (State.WARNING, f"locked down since {since}")
    assert finding.fix == "Lift it with: mycelos lockdown --lift"


@pytest.mark.parametrize("make", [lambda path: path.write_text("{"), os.mkfifo, os.mkdir])
def test_a_state_that_cannot_be_read_is_found(layout, make):
    layout.run.mkdir()
    make(layout.supervisor_state)
    assert diagnosis._processes(layout)[0].state is State.FAILED


def test_whether_heads_are_remembered_outside_is_said(layout, monkeypatch, tmp_path):
    assert diagnosis._heads_outside(layout) == []
    Vault.open(layout, bytes(32)).close()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (nothing,) = diagnosis._heads_outside(layout)
    assert (nothing.state, "would not be noticed" in nothing.found) == (State.WARNING, True)
    outside = outside_of(layout, {"XDG_STATE_HOME": str(tmp_path)}, installation_of(layout.vault))
    remember(outside.proxy, note_of(1234), 5)
    (well,) = diagnosis._heads_outside(layout)
    assert (well.state, well.found) == (State.OK, f"a checkpoint of 1,234 entries is remembered in {outside.folder}")
    remember(outside.proxy, "none", 5)
    (none,) = diagnosis._heads_outside(layout)
    assert (none.state, "is no checkpoint" in none.found) == (State.WARNING, True)
    outside.command_line.write_text("{")
    (unreadable,) = diagnosis._heads_outside(layout)
    assert (unreadable.state, "cannot be read" in unreadable.found) == (State.WARNING, True)
    monkeypatch.setenv("XDG_STATE_HOME", str(layout.root / "state"))
    (inside,) = diagnosis._heads_outside(layout)
    assert (inside.state, "there is no place" in inside.found) == (State.WARNING, True)


@pytest.mark.anyio
async def test_a_ledger_beside_a_vault_without_a_name_is_warned_about(layout):
    recorder = await Recorder.open(layout.ledger)
    await recorder.close()
    (found,) = diagnosis._heads_outside(layout)
    assert (found.state, "cannot be read" in found.found) == (State.WARNING, True)


def test_processes_that_are_older_than_the_code_are_named_with_what_to_do(layout, monkeypatch):
    state = SupervisorState(1, 1, 1, "", "", "127.0.0.1", 1, 1, "", "", (ChildState("proxy", 2, True, 0),))
    monkeypatch.setattr(diagnosis, "read_state", lambda _: state)
    monkeypatch.setattr(diagnosis, "older_than_code", lambda _: ("proxy",))
    found = one(diagnosis._processes(layout), "processes")
    assert found.state is State.WARNING
    assert found.found.endswith("last changed: proxy")
    assert "mycelos stop" in found.fix


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        (WitnessCondition.WAITS, State.OK),
        (WitnessCondition.TAKES, State.OK),
        (WitnessCondition.FAILS, State.WARNING),
        (WitnessCondition.LOCKED, State.WARNING),
        (WitnessCondition.DISAGREES, State.FAILED),
    ],
)
def test_a_witness_that_does_not_take_what_it_is_given_is_found(operator_system, layout, condition, state):
    assert diagnosis._witnesses(layout) == []
    operator_system.witnesses = (WitnessStatus(place="https://w/", condition=condition, reason="why"),)
    (found,) = diagnosis._witnesses(layout)
    assert (found.name, found.state, bool(found.fix)) == ("witness", state, state is not State.OK)


def test_where_no_proxy_answers_nothing_is_said_of_witnesses(layout):
    assert diagnosis._witnesses(layout) == []
