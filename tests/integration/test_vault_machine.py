"""The vault, the ledger and the operator's door against a model, over changes, crashes and restarts.

A crash is what SIGKILL leaves: the files as they are between two steps of a change. The change is let to its end
elsewhere, and the next system starts on the copy. What was acknowledged must be there, and nothing else; the change
that was cut may have happened or not, and nothing between.
"""

from __future__ import annotations

import asyncio
import importlib.util
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from kept_installation import kept
from pyrage.x25519 import Identity

from mycelos.configuration.layout import DataLayout
from mycelos.ledger.verify import Verdict
from mycelos.proxy.backup.create import create
from mycelos.proxy.backup.restore import Key, restore
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, read_master_key
from mycelos.proxy.vault.next_key import settle_at_start
from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire.binding import Binding, Method
from mycelos.wire.keys import LONG_LIVED_KEYS
from mycelos.wire.operator import (
    ANY_HOST,
    AddRule,
    BindCredential,
    ListRules,
    RemoveRule,
    RotateCredential,
    SetWeb,
    StoreCredential,
    WebAnswer,
)
from mycelos.wire.problems import Refusal


def load_operator_system() -> Any:
    """The module beside the tests' root conftest; test folders are no packages."""
    path = Path(__file__).resolve().parents[1] / "operator_system.py"
    spec = importlib.util.spec_from_file_location("operator_system", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPERATOR_SYSTEM = load_operator_system()
CANARY = "canary-9b3e-"
SERVICES = ("github", "telegram", "mail")
HOSTS = ("d.example", "e.example")
LABELS = ("", "mine", "für später")


def binding_to(host: str) -> Binding:
    (like,) = TEMPLATES["brave-search"].bindings
    return msgspec.structs.replace(like, host=host)


BINDINGS = ((binding_to("a.example"),), (binding_to("b.example"),), (binding_to("a.example"), binding_to("c.example")))


@dataclass(frozen=True)
class Known:
    """One credential, with the secret that it must open to."""

    version: int
    label: str
    bindings: tuple[Binding, ...]
    secret: str
    is_parked: bool = False


@dataclass(frozen=True)
class Model:
    """Everything that an operator has decided."""

    credentials: dict[str, Known] = field(default_factory=dict)
    rules: frozenset[tuple[str, str, str, int]] = frozenset()
    web: WebAnswer = WebAnswer.UNANSWERED
    locked: bool = False

    def seen(self) -> Model:
        """What can be seen of it: a parked credential opens to nobody."""
        shown = {name: replace(one, secret="") if one.is_parked else one for name, one in self.credentials.items()}
        return replace(self, credentials=shown)

    def having(self, service: str, known: Known | None) -> Model:
        rest = {name: one for name, one in self.credentials.items() if name != service}
        return replace(self, credentials=rest if known is None else rest | {service: known})


def observe(system: Any) -> Model:
    """The same, read from a running system: what its door says, and what its secrets open to."""
    listed = system.client.credentials()
    assert listed.damaged == ()
    status = system.client.status()
    found = {}
    for view in listed.credentials:
        known = Known(view.version, view.label, view.bindings, "", is_parked=view.parked_at is not None)
        if known.is_parked:
            with pytest.raises(Refusal, match="credential_unknown"):
                system.vault.find(view.service)
        else:
            with system.vault.open_secret(system.vault.find(view.service)) as secret:
                known = replace(known, secret=secret.reveal().decode())
        found[view.service] = known
    rules = system.client.egress_rules(ListRules())
    return Model(
        found,
        frozenset((one.method, one.scheme, one.host, one.port) for one in rules if one.host != ANY_HOST),
        status.web,
        status.lockdown.locked,
    )


class Fuse:
    """Copies a system's files at one point of its next change: before a statement, a commit, or around a record."""

    def __init__(self, system: Any) -> None:
        self._system = system
        self._left: int | None = None
        self.copy: Path | None = None
        engine = system.vault.database._engine
        sa.event.listen(engine, "before_cursor_execute", lambda *_: self._pass())
        sa.event.listen(engine, "commit", lambda *_: self._pass())
        recorder = system.recorder
        intent, outcome = recorder.intent, recorder.outcome

        async def watched_intent(*arguments: Any, **about: Any) -> Any:
            self._pass()
            receipt = await intent(*arguments, **about)
            self._pass()
            return receipt

        async def watched_outcome(*arguments: Any, **about: Any) -> Any:
            self._pass()
            receipt = await outcome(*arguments, **about)
            self._pass()
            return receipt

        recorder.intent, recorder.outcome = watched_intent, watched_outcome

    def light(self, points: int) -> None:
        self._left = points

    def put_out(self) -> None:
        self._left = None

    def _pass(self) -> None:
        if self._left == 0:
            self.copy = copy_of(self._system.layout)
        if self._left is not None:
            self._left = self._left - 1 if self._left else None


def copy_of(layout: DataLayout) -> Path:
    """The files as they are, on their own, as a machine that stopped now would find them."""
    folder = Path(tempfile.mkdtemp(prefix="m-"))
    # What other processes share in memory is made anew from the other files.
    shutil.copytree(layout.root, folder / "data", ignore=shutil.ignore_patterns("*.sock", "*-shm"))
    return folder


IDENTITY = Identity.generate()


def quiet(*_arguments: object) -> None:
    """Nobody watches."""


async def start_and_stop(layout: DataLayout, environ: dict[str, str], key: bytes) -> None:
    """A start up to where it serves."""
    async with kept(layout, environ, key):
        pass


CRASH = st.none() | st.none() | st.integers(0, 24)
"""After how many steps of a change the machine stops; None where it does not."""


class VaultMachine(RuleBasedStateMachine):
    """A rule for a new way to change something: the call, and what the model says of it, given to `change`."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="m-"))
        self.state = tempfile.mkdtemp(prefix="m-")
        """What is remembered of the ledger outside: it outlives the machine."""
        (self.folder / "data").mkdir(mode=0o700)
        create_master_key(DataLayout(self.folder / "data"))
        self.model = Model()
        self.head: Any = None
        self.secrets = 0
        self.backups: list[tuple[Path, bytes, Model]] = []
        self.system: Any = None
        self.begin()

    def begin(self) -> None:
        # As a proxy's start does: a rotation that was cut is settled; vault, ledger and heads outside are compared.
        layout = DataLayout(self.folder / "data")
        settle_at_start(layout, None)
        key = read_master_key(layout.master_key)
        asyncio.run(start_and_stop(layout, {"XDG_STATE_HOME": self.state}, key))
        self.system = OPERATOR_SYSTEM.OperatorSystem(layout, master_key=key)
        self.system.start()
        self.fuse = Fuse(self.system)

    def end(self) -> None:
        system, self.system = self.system, None
        if system is not None:
            system.close()

    def go_on_with(self, copy: Path) -> None:
        self.end()
        shutil.rmtree(self.folder)
        self.folder = copy
        self.begin()

    def change(self, call: Callable[[], Any], after: Model, crash: int | None) -> None:
        """Change something; where the machine stops meanwhile, either all of it is there or nothing."""
        if crash is not None:
            self.fuse.light(crash)
        call()
        self.fuse.put_out()
        if self.fuse.copy is None:
            self.model = after
            self.head = self.system.recorder.head
            return
        before = self.model
        self.go_on_with(self.fuse.copy)
        found = observe(self.system)
        assert found in (before.seen(), after.seen())
        self.model = before if found == before.seen() else after
        self.demand_sound()

    def refused(self, call: Callable[[], Any], code: str) -> None:
        """What the model says is impossible is refused, and changes nothing."""
        with pytest.raises(Refusal, match=code):
            call()

    def new_secret(self) -> str:
        self.secrets += 1
        return f"{CANARY}{self.secrets}"

    def demand_sound(self) -> None:
        """What the door does not show: rows, bytes of files, and the ledger up to what was acknowledged."""
        with closing(sqlite3.connect(self.system.layout.vault)) as connection:
            (heads,) = connection.execute("SELECT count(*) FROM credentials").fetchone()
            versions = connection.execute("SELECT credential_id, version FROM credential_versions").fetchall()
            (check,) = connection.execute("PRAGMA integrity_check").fetchone()
        assert check == "ok"
        assert heads == len(versions) == len(self.model.credentials)
        for path in self.system.layout.proxy.iterdir():
            if path.is_file():
                assert CANARY.encode() not in path.read_bytes()
        remembered = {} if self.head is None else {"the test": self.head}
        verification = self.system.run(self.system.recorder.verify(remembered))
        expected = Verdict.HOLDS if remembered else verification.verdict
        assert (verification.verdict, verification.fault) == (expected, None)

    @initialize()
    def start_empty(self) -> None:
        assert observe(self.system) == self.model

    @rule(service=st.sampled_from(SERVICES), label=st.sampled_from(LABELS), to=st.sampled_from(BINDINGS), crash=CRASH)
    def store(self, service: str, label: str, to: tuple[Binding, ...], crash: int | None) -> None:
        secret = self.new_secret()
        message = StoreCredential(service=service, secret=secret, label=label, bindings=to)
        call = partial(self.system.client.store, message)
        if service in self.model.credentials:
            self.refused(call, "conflict")
            return
        self.change(call, self.model.having(service, Known(1, label or service, to, secret)), crash)

    @rule(service=st.sampled_from(SERVICES), crash=CRASH)
    def rotate(self, service: str, crash: int | None) -> None:
        secret = self.new_secret()
        call = partial(self.system.client.rotate, RotateCredential(service=service, secret=secret))
        known = self.model.credentials.get(service)
        if known is None:
            self.refused(call, "credential_unknown")
            return
        self.change(call, self.model.having(service, replace(known, version=known.version + 1, secret=secret)), crash)

    @rule(
        service=st.sampled_from(SERVICES),
        label=st.none() | st.sampled_from(LABELS[1:]),
        to=st.sampled_from(BINDINGS),
        crash=CRASH,
    )
    def bind(self, service: str, label: str | None, to: tuple[Binding, ...], crash: int | None) -> None:
        call = partial(self.system.client.bind, BindCredential(service=service, bindings=to, label=label))
        known = self.model.credentials.get(service)
        if known is None:
            self.refused(call, "credential_unknown")
            return
        bound = replace(known, version=known.version + 1, bindings=to, label=label or known.label)
        self.change(call, self.model.having(service, bound), crash)

    @rule(service=st.sampled_from(SERVICES), crash=CRASH)
    def delete(self, service: str, crash: int | None) -> None:
        call = partial(self.system.client.delete, service)
        if service not in self.model.credentials:
            self.refused(call, "credential_unknown")
            return
        self.change(call, self.model.having(service, None), crash)

    @rule(method=st.sampled_from((Method.GET, Method.POST)), host=st.sampled_from(HOSTS), crash=CRASH)
    def add_rule(self, method: Method, host: str, crash: int | None) -> None:
        call = partial(self.system.client.egress_rules, AddRule(method=method, scheme="https", host=host, port=443))
        added = (method.value, "https", host, 443)
        self.change(call, replace(self.model, rules=self.model.rules | {added}), crash)

    @rule(which=st.integers(0, 3), crash=CRASH)
    def remove_rule(self, which: int, crash: int | None) -> None:
        rules = [one for one in self.system.client.egress_rules(ListRules()) if one.host != ANY_HOST]
        if not rules:
            self.refused(partial(self.system.client.egress_rules, RemoveRule(id="rule_none")), "not_found")
            return
        gone = rules[which % len(rules)]
        left = self.model.rules - {(gone.method, gone.scheme, gone.host, gone.port)}
        call = partial(self.system.client.egress_rules, RemoveRule(id=gone.id))
        self.change(call, replace(self.model, rules=left), crash)

    @rule(enabled=st.booleans(), crash=CRASH)
    def set_web(self, enabled: bool, crash: int | None) -> None:
        call = partial(self.system.client.egress_rules, SetWeb(enabled=enabled))
        self.change(call, replace(self.model, web=WebAnswer.ON if enabled else WebAnswer.OFF), crash)

    @rule(name=st.sampled_from((None, *LONG_LIVED_KEYS)), crash=CRASH)
    def rotate_key(self, name: str | None, crash: int | None) -> None:
        self.change(partial(self.system.client.rotate_key, name), self.model, crash)

    @rule(enabled=st.booleans(), crash=CRASH)
    def set_lockdown(self, enabled: bool, crash: int | None) -> None:
        call = partial(self.system.client.set_lockdown, enabled=enabled)
        self.change(call, replace(self.model, locked=enabled), crash)

    @rule()
    def restart(self) -> None:
        self.end()
        self.begin()
        self.demand_sound()

    @rule()
    def crash_at_rest(self) -> None:
        self.go_on_with(copy_of(self.system.layout))
        self.demand_sound()

    @rule()
    def back_up(self) -> None:
        path = Path(self.state) / f"{len(self.backups)}.age"
        layout = self.system.layout
        create(layout, [IDENTITY.to_public()], path, record=quiet, progress=quiet)
        self.backups.append((path, read_master_key(layout.master_key), self.model))

    @rule(which=st.integers(0, 8))
    def restore(self, which: int) -> None:
        if not self.backups:
            return
        path, key, then = self.backups[which % len(self.backups)]
        layout = self.system.layout
        self.end()
        restore(path, [IDENTITY], layout, Key(key, keep=True), furnish=quiet, step=quiet, progress=quiet)
        parked = {service: replace(known, is_parked=True) for service, known in then.credentials.items()}
        self.model = Model(parked, locked=then.locked or self.model.locked)
        self.begin()
        # An older ledger goes on in a new epoch: what was remembered of the newer one is not in it.
        self.head = self.system.recorder.head
        self.demand_sound()

    @rule(service=st.sampled_from(SERVICES), crash=CRASH)
    def confirm(self, service: str, crash: int | None) -> None:
        call = partial(self.system.client.confirm, service)
        known = self.model.credentials.get(service)
        if known is None:
            self.refused(call, "credential_unknown")
            return
        self.change(call, self.model.having(service, replace(known, is_parked=False)), crash)

    @invariant()
    def what_stands_is_what_was_acknowledged(self) -> None:
        assert observe(self.system) == self.model.seen()

    def teardown(self) -> None:
        try:
            self.end()
            self.begin()
            assert observe(self.system) == self.model.seen()
            self.demand_sound()
        finally:
            self.end()
            shutil.rmtree(self.folder, ignore_errors=True)
            shutil.rmtree(self.state, ignore_errors=True)


TestVaultMachine = VaultMachine.TestCase
# An example is twenty changes and a new start for every crash among them: seconds, where others take a millisecond.
TestVaultMachine.settings = hypothesis.settings(
    max_examples=max(15, hypothesis.settings.default.max_examples // 10), stateful_step_count=20
)


def test_without_transactions_a_crash_would_leave_half_a_change() -> None:
    """The wall taken away: each statement is kept by itself, and the same check sees it."""
    seen = 0
    for point in range(12):
        machine = VaultMachine()
        sa.event.listen(
            machine.system.vault.database._engine, "begin", lambda connection: connection.exec_driver_sql("COMMIT")
        )
        message = StoreCredential(service="mail", secret=machine.new_secret(), bindings=BINDINGS[0])
        after = Model({"mail": Known(1, "mail", BINDINGS[0], message.secret)})
        try:
            machine.change(partial(machine.system.client.store, message), after, point)
        except (AssertionError, VaultError):
            # Seen by the look at what is there, or by the next start itself.
            seen += 1
        finally:
            machine.end()
            shutil.rmtree(machine.folder)
            shutil.rmtree(machine.state)
    assert seen
