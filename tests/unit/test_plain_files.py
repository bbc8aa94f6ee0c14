"""No file of a data folder is opened in a way that waits: a FIFO in its place would keep the process for good."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "mycelos"

_BY_NAME: Final = {"read_text", "read_bytes", "write_text", "write_bytes"}
_NEVER_WAITS: Final = ("O_NONBLOCK", "O_DIRECTORY", "O_EXCL", "O_PATH", "O_RDWR")
"""Flags with which open(2) does not wait for the other end of a FIFO (fifo(7)), or opens none."""

ALLOWED: Final = {
    "a file that came with the program": {
        "gateway/web/rendering.py", "gateway/web/static_files.py", "operator/app.py", "operator/browser_connection.py",
    },
    "a file of the kernel": {
        "cli/diagnosis.py:_seccomp", "cli/diagnosis.py:_text_of",
        "prove/page.py:_listeners", "proxy/egress/own_addresses.py",
        "proxy/vault/next_key.py:demand_replaceable", "sandbox/confine.py", "sandbox/probe.py:_targets",
    },
    "a file that the operator named: a pipe will do, and is waited for": {
        "cli/audit_verify.py:_read_given", "cli/audit_verify_proof.py:verify_proof",
        "configuration/environment.py:_read_secret_file",
        "proxy/backup/sealing.py:read_lines", "proxy/backup/sealing.py:unseal",
    },
    "a folder that this process made": {
        "demo/tour.py", "prove/backups.py", "prove/canary_run.py", "prove/credentials.py", "prove/everything.py",
        "prove/failures.py", "prove/ledger_attacks.py", "prove/ledger_copy.py", "prove/recorded_requests.py",
        "prove/trail.py", "prove/twin.py", "proxy/backup/archive.py", "proxy/backup/snapshot.py:_copy",
    },
    "looked at before the first connection is made": {"gateway/store/database.py:Database.__init__"},
    "a database in memory": {"proxy/own_schema.py"},
    "inside the walls, where it harms nobody else": {
        "sandbox/attacks.py", "sandbox/attribute_attacks.py", "sandbox/lasting_attacks.py",
        "sandbox/launch.py",
    },
}  # fmt: skip
"""Where a file may be opened plainly, and why: a module, or a function of one."""


class Opens(ast.NodeVisitor):
    """Collects the places that open a file in a way that waits for a FIFO."""

    def __init__(self, text: str) -> None:
        self._module = ast.parse(text)
        self._names: list[str] = []
        self._functions: list[ast.AST] = []
        self.found: list[tuple[str, int]] = []
        self.visit(self._module)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node)
        self._inside(node)
        self._functions.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - named by ast

    def visit_Call(self, node: ast.Call) -> None:
        if self._waits(node):
            self.found.append((".".join(self._names), node.lineno))
        self.generic_visit(node)

    def visit_Await(self, node: ast.Await) -> None:
        # What is awaited is no path's `open`.
        for child in ast.iter_child_nodes(node.value):
            self.visit(child)

    def _inside(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        self._names.append(node.name)
        self.generic_visit(node)
        self._names.pop()

    def _waits(self, node: ast.Call) -> bool:
        called = ast.unparse(node.func)
        if called == "os.open":
            return ast.unparse(node.args[0]) != "os.devnull" and not self._has_quiet_flag(node.args[1])
        if called in {"sqlite3.connect", "create_engine", "sa.create_engine"}:
            return not self._demands_plain()
        if "/proc/" in ast.unparse(node):
            return False
        if called.rpartition(".")[2] in _BY_NAME or called in {"open", "io.open"}:
            return True
        # Other classes have an `open` too; that of a path has a mode, or nothing.
        return called.endswith(".open") and all(
            isinstance(one, ast.Constant) and isinstance(one.value, str) for one in node.args
        )

    def _has_quiet_flag(self, flags: ast.expr) -> bool:
        if any(flag in ast.unparse(flags) for flag in _NEVER_WAITS):
            return True
        names = {node.id for node in ast.walk(flags) if isinstance(node, ast.Name)}
        values = [
            node.value
            for node in ast.walk(self._module)
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and target.id in names and node.value is not None
        ]
        return any(flag in ast.unparse(value) for flag in _NEVER_WAITS for value in values)

    def _demands_plain(self) -> bool:
        calls = [node for one in self._functions for node in ast.walk(one) if isinstance(node, ast.Call)]
        return any("demand_plain" in ast.unparse(call.func) for call in calls)


def opens() -> dict[str, int]:
    return {
        f"{path.relative_to(SOURCE)}:{name}": line
        for path in sorted(SOURCE.rglob("*.py"))
        for name, line in Opens(path.read_text()).found
    }


def test_nothing_waits_for_what_lies_in_the_place_of_a_file() -> None:
    allowed = set().union(*ALLOWED.values())
    found = {place: line for place, line in opens().items() if not {place, place.partition(":")[0]} & allowed}
    assert found == {}, "use mycelos.configuration.plain_file, or say in ALLOWED why this one may wait"


def test_nothing_is_allowed_that_is_not_there() -> None:
    places = opens()
    there = {*places, *(place.partition(":")[0] for place in places)}
    assert set().union(*ALLOWED.values()) - there == set()


@pytest.mark.parametrize(
    "line",
    [
        "path.read_text('ascii')",
        "layout.state.read_bytes()",
        "path.write_bytes(b'')",
        "path.open('rb')",
        "path.open()",
        "open(path)",
        "os.open(path, os.O_RDONLY | os.O_NOFOLLOW)",
        "flags = os.O_WRONLY\nos.open(path, flags)",
        "sqlite3.connect(path)",
        "def f():\n    demand_plain_database(path)\ndef g():\n    sqlite3.connect(path)",
        "create_engine(url)",
    ],
)
def test_the_check_sees_each_kind(line: str) -> None:
    assert Opens(line).found


@pytest.mark.parametrize(
    "line",
    [
        "read_plain_file(path, 10)",
        "Vault.open(layout)",
        "Path(f'/proc/{pid}/stat').read_text()",
        "os.open(path, os.O_RDONLY | os.O_NONBLOCK)",
        "flags = os.O_WRONLY | os.O_NONBLOCK\nos.open(path, flags)",
        "def f():\n    demand_plain_database(path)\n    sqlite3.connect(path)",
    ],
)
def test_the_check_lets_others_pass(line: str) -> None:
    assert not Opens(line).found
