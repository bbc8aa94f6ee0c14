"""Each module with code has its test file, and each test file its module."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "mycelos"
UNIT = ROOT / "tests" / "unit"

EXEMPT: dict[str, str] = {
    "*/migrations/env.py": "run by Alembic; upgraded, downgraded and compared with the tables in the database's test",
    "*/migrations/versions/*.py": "the same",
}
"""Patterns of modules without a test file of their own, each with the reason."""

OF_THE_WHOLE = {
    "ledger/test_another_reader.py": "checkpoints and proofs before a reader that others have written",
    "test_commands_in_texts.py": "every command that a page, a refusal or a help text names",
    "test_documentation.py": "README and docs against the code",
    "test_imports.py": "the borders between the zones",
    "test_locks.py": "requirements/*.txt and pyproject.toml",
    "test_mirror.py": "this",
    "test_no_registry_host.py": "every file of the project",
    "test_plain_files.py": "every module of src/mycelos",
    "test_conftest.py": "the shared fixtures and switches",
    "test_scripts.py": "scripts/, Makefile and .ci/run",
}
"""Test files that belong to the project and not to one module."""


def has_code(text: str) -> bool:
    """Whether a module holds a function or a method; names, tables and plain types need no test of their own."""
    code = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    return any(isinstance(node, code) for node in ast.walk(ast.parse(text)))


def missing_tests(source: Path, unit: Path) -> list[str]:
    missing = []
    for module in sorted(source.rglob("*.py")):
        place = module.relative_to(source)
        if module.name in {"__init__.py", "__main__.py"} or any(place.match(pattern) for pattern in EXEMPT):
            continue
        if has_code(module.read_text()) and not (unit / place.parent / f"test_{place.name}").is_file():
            missing.append(str(place))
    return missing


def orphaned_tests(source: Path, unit: Path) -> list[str]:
    orphans = []
    for test in sorted(unit.rglob("test_*.py")):
        place = test.relative_to(unit)
        module = source / place.parent / test.name.removeprefix("test_")
        package = source / place.parent / test.stem.removeprefix("test_") / "__init__.py"
        if str(place) not in OF_THE_WHOLE and not module.is_file() and not package.is_file():
            orphans.append(str(place))
    return orphans


def test_each_module_with_code_has_its_test_file() -> None:
    assert missing_tests(SOURCE, UNIT) == []


def test_each_test_file_has_its_module() -> None:
    assert orphaned_tests(SOURCE, UNIT) == []


def test_each_exemption_is_still_needed() -> None:
    for pattern in EXEMPT:
        assert any(module.relative_to(SOURCE).match(pattern) for module in SOURCE.rglob("*.py")), pattern
    for name in OF_THE_WHOLE:
        assert (UNIT / name).is_file(), name


def test_test_folders_are_no_packages() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_check_sees_a_module_without_test_and_a_test_without_module(tmp_path: Path) -> None:
    source, unit = tmp_path / "source", tmp_path / "unit"
    for folder in (source / "room", unit / "room"):
        folder.mkdir(parents=True)
    (source / "room" / "door.py").write_text("def open(): ...\n")
    (source / "room" / "names.py").write_text("DOOR = 'door'\n")
    (unit / "room" / "test_window.py").write_text("")
    assert missing_tests(source, unit) == ["room/door.py"]
    assert orphaned_tests(source, unit) == ["room/test_window.py"]
    (unit / "room" / "test_door.py").write_text("")
    assert missing_tests(source, unit) == []


def test_no_module_is_larger_than_400_lines() -> None:
    sizes = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > 400} == {}
