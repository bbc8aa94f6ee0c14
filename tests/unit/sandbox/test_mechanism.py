import os
from pathlib import Path

import pytest

from mycelos.sandbox import landlock, mechanism
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.identity import RUN_USERS
from mycelos.sandbox.mechanism import RunUsers, Sandbox, choose_sandbox, start_test
from mycelos.sandbox.plan import Mechanism


def refusing(layer: Layer, mechanisms: set[Mechanism]):
    def test(sandbox: Sandbox) -> None:
        if sandbox.mechanism in mechanisms:
            raise SandboxRefused(layer, "it is not there", "Get it")

    return test


def test_this_machine_has_a_mechanism_that_starts() -> None:
    chosen = choose_sandbox(start_test)
    assert chosen.mechanism is Mechanism.BUBBLEWRAP
    assert chosen.passed_over == ""


def test_where_namespaces_are_refused_landlock_stands_alone_and_says_why() -> None:
    chosen = choose_sandbox(refusing(Layer.BUBBLEWRAP, {Mechanism.BUBBLEWRAP}))
    assert chosen.mechanism is Mechanism.LANDLOCK
    assert "it is not there. Get it" in chosen.passed_over


def test_without_namespaces_the_scopes_are_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock.kernel, "landlock_abi", lambda: 5)
    assert choose_sandbox(lambda _: None).mechanism is Mechanism.BUBBLEWRAP
    with pytest.raises(SandboxRefused) as refused:
        choose_sandbox(refusing(Layer.BUBBLEWRAP, {Mechanism.BUBBLEWRAP}))
    assert refused.value.layer is Layer.LANDLOCK_SCOPE


@pytest.mark.parametrize("layer", [layer for layer in Layer if layer is not Layer.BUBBLEWRAP])
def test_any_other_missing_layer_is_a_refusal_and_no_reason_to_try_less(layer: Layer) -> None:
    with pytest.raises(SandboxRefused) as refused:
        choose_sandbox(refusing(layer, {Mechanism.BUBBLEWRAP}))
    assert refused.value.layer is layer


def test_without_bubblewrap_installed_the_other_mechanism_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise SandboxRefused(Layer.BUBBLEWRAP, "bwrap is not installed", "Install it")

    monkeypatch.setattr(mechanism, "find_bubblewrap", missing)
    assert choose_sandbox(lambda _: None).mechanism is Mechanism.LANDLOCK


def test_each_run_that_root_starts_has_a_user_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanism, "started_as_root", lambda: True)
    monkeypatch.setattr(mechanism, "RUN_USERS", range(100, 103))
    users = RunUsers()
    first, second = users.take(), users.take()
    third = users.take([first, second])
    assert {first, second, third} == {100, 101, 102}
    with pytest.raises(SandboxRefused, match="in use"):
        users.take([100, 101, 102])


def test_an_ordinary_user_stays_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mechanism, "started_as_root", lambda: False)
    assert RunUsers().take() is None


def test_the_users_of_runs_are_in_no_database() -> None:
    names = [line.split(":")[2] for line in Path("/etc/passwd").read_text().splitlines() if line.count(":") == 6]
    assert not {int(number) for number in names} & set(RUN_USERS)
    assert os.geteuid() not in RUN_USERS
