from __future__ import annotations

import base64
from pathlib import Path

import pytest

from mycelos.configuration.environment import read_environment
from mycelos.supervisor.processes import (
    STOP_ORDER,
    ChildPlan,
    Descriptors,
    Role,
    operator_url,
    page_url,
    plan_children,
)

TOKEN = "t" * 43
KEY = base64.b64encode(b"k" * 32).decode()
DESCRIPTORS = Descriptors(10, 11, 12, 13, 14, 15)
HOSTILE = {
    "SSH_AUTH_SOCK": "/s",
    "HTTPS_PROXY": "http://x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "LD_PRELOAD": "/x",
    "HOME": "/h",
}


def plans(**variables: str) -> dict[Role, ChildPlan]:
    environ = {"MYCELOS_DATA_DIR": "/data", **HOSTILE, **variables}
    found = plan_children(environ, read_environment(environ), TOKEN, DESCRIPTORS)
    return {plan.role: plan for plan in found}


def test_every_role_has_one_plan_and_one_place_in_the_stop_order():
    assert set(plans()) == set(Role)
    assert sorted(role for group in STOP_ORDER for role in group) == sorted(Role)
    assert STOP_ORDER[-1] == {Role.PROXY}


def test_the_master_key_goes_to_the_proxy_and_to_no_other():
    found = plans(MYCELOS_MASTER_KEY=KEY)
    holders = [role for role, plan in found.items() if KEY in " ".join([*plan.environment.values(), *plan.arguments])]
    assert holders == [Role.PROXY]


def test_the_path_of_the_master_key_goes_to_the_proxy_and_to_no_other(tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY)
    found = plans(MYCELOS_MASTER_KEY_FILE=str(path))
    holders = [role for role, plan in found.items() if any("MASTER_KEY" in name for name in plan.environment)]
    assert holders == [Role.PROXY]


def test_the_bearer_goes_to_proxy_and_gateway_only():
    found = plans()
    holders = {role for role, plan in found.items() if TOKEN in plan.environment.values()}
    assert holders == {Role.PROXY, Role.GATEWAY}


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.SPAWNER])
def test_operator_page_and_spawner_get_no_variable_of_ours(role):
    found = plans(MYCELOS_MASTER_KEY=KEY, MYCELOS_PROXY_TOKEN=TOKEN, MYCELOS_PASSWORD="secret word")
    assert not [name for name in found[role].environment if name.startswith("MYCELOS_")]


@pytest.mark.parametrize("role", list(Role))
def test_nothing_of_the_surroundings_reaches_a_child(role):
    assert not set(HOSTILE) & set(plans()[role].environment)


def test_a_password_in_a_file_reaches_the_gateway_as_a_value(tmp_path):
    path = tmp_path / "password"
    path.write_text("secret word\n")
    environment = plans(MYCELOS_PASSWORD_FILE=str(path))[Role.GATEWAY].environment
    assert environment["MYCELOS_PASSWORD"] == "secret word"
    assert "MYCELOS_PASSWORD_FILE" not in environment


def test_each_child_gets_its_own_descriptors_and_is_told_their_numbers():
    found = plans()
    assert found[Role.PROXY].descriptors == (12,)
    assert found[Role.OPERATOR].descriptors == (11,)
    assert found[Role.SPAWNER].descriptors == (14,)
    assert found[Role.GATEWAY].descriptors == (10, 13, 15)
    for plan in found.values():
        assert [str(number) in plan.arguments for number in plan.descriptors] == [True] * len(plan.descriptors)


def test_the_gateway_finds_the_proxy_by_its_descriptor():
    assert plans()[Role.GATEWAY].environment["MYCELOS_PROXY_URL"] == "fd:13"


def test_what_the_guard_must_know_reaches_the_proxy():
    set_here = {"MYCELOS_EGRESS_OPEN": "127.0.0.1:8080", "MYCELOS_PORT": "9300", "MYCELOS_WITNESS": "/mnt/notes"}
    environment = plans(**set_here)[Role.PROXY].environment
    assert environment["MYCELOS_WITNESS"] == "/mnt/notes"
    assert environment["MYCELOS_EGRESS_OPEN"] == "127.0.0.1:8080"
    assert environment["MYCELOS_PORT"] == "9300"


def test_a_plan_does_not_show_its_environment():
    assert TOKEN not in repr(plans()[Role.GATEWAY])


def test_every_program_is_a_module_of_the_package():
    source = Path(__file__).resolve().parents[3] / "src"
    for plan in plans().values():
        option, module = plan.program
        place = source / Path(*module.split("."))
        assert option == "-m"
        assert (place / "__main__.py").is_file() or place.with_suffix(".py").is_file(), module


def test_the_process_that_secrets_are_typed_into_overwrites_what_it_frees_and_reads_no_other_setting():
    operator = plans(PYTHONPATH="/elsewhere", PYTHONMALLOC="malloc")[Role.OPERATOR]
    assert operator.environment["PYTHONMALLOC"] == "debug"
    assert "MALLOC_PERTURB_" in operator.environment
    # With -I the interpreter would not read its allocator; without -E, it must have nothing else to read.
    assert {name for name in operator.environment if name.startswith("PYTHON")} == {"PYTHONMALLOC"}
    assert set(operator.flags) == {"-P", "-s"}
    assert all(plan.flags == ("-I",) for role, plan in plans().items() if role is not Role.OPERATOR)


def test_addresses_follow_the_settings():
    settings = read_environment({"MYCELOS_PORT": "9300", "MYCELOS_OPERATOR_PORT": "9301"})
    assert (page_url(settings), operator_url(settings)) == ("http://localhost:9300", "http://localhost:9301")
    assert page_url(read_environment({"MYCELOS_PUBLIC_URL": "https://agents.example/"})) == "https://agents.example"


def test_the_state_folder_goes_to_the_proxy_and_to_no_other():
    found = plans()
    assert {role: plan.environment.get("XDG_STATE_HOME") for role, plan in found.items()} == {
        Role.PROXY: "/h/.local/state",
        Role.OPERATOR: None,
        Role.SPAWNER: None,
        Role.GATEWAY: None,
    }
    assert plans(XDG_STATE_HOME="/state")[Role.PROXY].environment["XDG_STATE_HOME"] == "/state"
    assert "XDG_STATE_HOME" not in plans(HOME="")[Role.PROXY].environment
