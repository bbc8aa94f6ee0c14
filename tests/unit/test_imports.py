"""The borders between the zones: what each process has loaded, what each room may name."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "mycelos"
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@dataclass(frozen=True)
class Entry:
    """A process: the module it starts with, and what it may never have loaded."""

    module: str
    never: tuple[str, ...]


ENTRIES = (
    Entry("mycelos.proxy.main", ("mycelos.gateway", "mycelos.runner", "mycelos.operator", "mycelos.cli", "openai")),
    Entry(
        "mycelos.gateway.main",
        (
            *("mycelos.proxy", "mycelos.runner", "mycelos.operator", "mycelos.cli", "mycelos.supervisor"),
            *("anthropic", "openai"),
        ),
    ),
    Entry("mycelos.operator.main", ("mycelos.proxy", "mycelos.gateway", "mycelos.runner", "mycelos.cli", "sqlalchemy")),
    Entry("mycelos.witness.main", ("mycelos.proxy", "mycelos.gateway", "mycelos.runner", "mycelos.cli", "sqlalchemy")),
    Entry(
        "mycelos.sandbox.spawner",
        ("mycelos.proxy", "mycelos.gateway", "mycelos.operator", "mycelos.cli", "sqlalchemy", "httpx2", "cryptography"),
    ),
    Entry("mycelos.runner.main", ("httpx2", "ssl", "sqlalchemy", "pydantic", "cryptography", "subprocess")),
    Entry("mycelos.cli.main", ("mycelos.proxy", "mycelos.gateway", "sqlalchemy", "starlette", "openai", "anthropic")),
)

_LIST_MODULES = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps(sorted(sys.modules)))
"""


@cache
def loaded_by(module: str) -> frozenset[str]:
    """What is in sys.modules after ``module`` was imported in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-I", "-c", _LIST_MODULES, module], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return frozenset(json.loads(ended.stdout.splitlines()[-1]))


def _below(modules: frozenset[str], roots: tuple[str, ...]) -> list[str]:
    return sorted(module for module in modules if f"{module}.".startswith(tuple(f"{root}." for root in roots)))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.module)
def test_a_process_has_not_loaded_what_its_zone_may_not_reach(entry: Entry) -> None:
    assert _below(loaded_by(entry.module), entry.never) == []


def test_the_runner_has_loaded_the_messages_and_nothing_else_of_ours() -> None:
    ours = {module for module in loaded_by("mycelos.runner.main") if module.startswith("mycelos.")}
    allowed = tuple(f"mycelos.{room}" for room in ("wire", "runner"))
    assert sorted(module for module in ours if not module.startswith(allowed)) == []


def test_the_look_at_loaded_modules_sees_an_import_inside_a_function() -> None:
    assert "mycelos.wire.frames" in loaded_by("mycelos.wire.frames")
    assert _below(loaded_by("mycelos.wire.frames"), ("mycelos.wire",)) != []


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules of which each reaches each other one, by Tarjan's algorithm."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in number:
                visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == number[module]:
            at = stack.index(module)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for module in imports:
        if module not in number:
            visit(module)
    return found


def test_no_module_reaches_itself_through_others() -> None:
    graph = grimp.build_graph("mycelos")
    assert cycles({module: graph.find_modules_directly_imported_by(module) for module in graph.modules}) == []


def test_the_look_for_cycles_finds_one() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def _modules(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (SOURCE / room).rglob("*.py"))


def _calls(path: Path) -> set[str]:
    """The dotted names that are called in a module, with the line."""
    calls = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            calls.add(ast.unparse(node.func))
    return calls


# Clocks, random numbers and files that no import gives away: `datetime` is needed to read a time that was handed in.
IMPURE = ("open", "input", "print", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "__import__")


def test_messages_policy_and_ledger_read_no_clock_and_no_file() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {call}"
        for path in _modules("wire", "policy", "ledger")
        for call in _calls(path)
        if call in IMPURE or call.endswith(tuple(f".{name}" for name in IMPURE if "." in name))
    ]
    assert found == []


CONNECTING = ("create_connection", "open_connection", "open_unix_connection", "connect", "connect_ex", "sock_connect",
              "create_unix_connection", "getaddrinfo", "create_datagram_endpoint")  # fmt: skip
MAY_CONNECT: dict[str, str] = {
    "proxy/egress/": "the one way out",
    "gateway/proxy_client": "over descriptors that the proxy has handed over",
    "operator/client": "the operator's socket",
    "sandbox/attacks": "tries what must fail",
    "prove/": "tries what must fail",
    "demo/": "the stand-in for the outside",
    "cli/": "talks to the doors on loopback and the operator's socket",
    "supervisor/": "asks for health on loopback",
}
"""Where a connection may be opened, and why."""


def test_only_the_doors_open_connections() -> None:
    found = [
        f"{place}: {call}"
        for path in _modules(".")
        if not (place := str(path.relative_to(SOURCE))).startswith(tuple(MAY_CONNECT))
        for call in _calls(path)
        if call.rpartition(".")[2] in CONNECTING and not call.startswith(("self._engine", "engine", "sqlite3"))
    ]
    assert found == []


# What a room imports of others' must be a wish of each role whose process loads the room.
ROLES: dict[str, tuple[str, ...]] = {
    "wire": ("runner",), "configuration": ("runner",), "policy": ("runner",), "claims.py": ("runner",),
    "claim.py": ("runner",), "attacks.py": ("runner",),
    "runner": ("runner",), "sandbox": ("runner", "gateway", "operator"),
    "serving": ("proxy", "gateway", "operator", "witness"), "witness": ("witness",),
    "ledger": ("proxy", "gateway", "witness", "command-line"), "proxy": ("proxy",), "gateway": ("gateway",),
    "operator": ("operator",), "supervisor": ("host",), "cli": ("host",), "demo": ("host",), "prove": ("host",),
}  # fmt: skip
OPTIONAL = {"xllamacpp": "local"}
LOADED_BY_OTHERS = {
    "httptools": "uvicorn's parser",
    "msgspec": "every room's messages",
    "python-multipart": "Starlette's reader of forms",
    "uvloop": "uvicorn's event loop",
}


def _of_room(room: str) -> list[Path]:
    return [SOURCE / room] if room.endswith(".py") else _modules(room)


def _wishes(extra: str) -> set[str]:
    names = {"msgspec"}
    for wish in map(Requirement, EXTRAS[extra]):
        if wish.name == "mycelos":
            names |= {name for inner in wish.extras for name in _wishes(inner)}
        else:
            names.add(canonicalize_name(wish.name))
    return names


def _imported(path: Path) -> set[str]:
    roots: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            roots.add(node.module.partition(".")[0])
    return roots - set(sys.stdlib_module_names) - {"mycelos"}


def test_each_room_belongs_to_a_role() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms - {"__init__.py"} == set(ROLES)


def test_each_room_imports_only_what_its_role_wishes_for() -> None:
    providers = importlib.metadata.packages_distributions()
    found = []
    for room, roles in ROLES.items():
        for path in _of_room(room):
            for root in _imported(path) - set(OPTIONAL):
                names = {canonicalize_name(name) for name in providers.get(root, [root])}
                found += [
                    f"{path.relative_to(ROOT)} imports {root}, which the extra {role} does not wish for"
                    for role in roles
                    if not names & _wishes(role)
                ]
    assert found == []


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - {"host", "local", "command-line"}))
def test_each_wish_of_a_role_is_imported_by_one_of_its_rooms(extra: str) -> None:
    providers = importlib.metadata.packages_distributions()
    paths = [path for room, roles in ROLES.items() if extra in roles for path in _of_room(room)]
    imported = {root for path in paths for root in _imported(path)}
    used = {canonicalize_name(name) for root in imported for name in providers.get(root, [root])}
    assert sorted(_wishes(extra) - used - set(LOADED_BY_OTHERS)) == []
