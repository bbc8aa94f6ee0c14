"""What the README and the docs name exists: files, make targets, commands, variables."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mycelos.configuration.variables import NAMES, TEST_PREFIX

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands_of(text: str) -> list[str]:
    """The lines of shell blocks, without prompts and comments."""
    blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = (line.removeprefix("$ ").partition("  #")[0].strip() for block in blocks for line in block.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def words_of_commands(text: str) -> set[tuple[str, ...]]:
    """For each use of mycelos, in a block or in backticks, the words before the first argument or option."""
    lines = "\n".join([*commands_of(text), *re.findall(r"`[^`\n]+`", text)])
    uses = re.findall(r"(?:^|`|\./|&& )mycelos((?: [a-z][a-z-]*)+)", lines, re.MULTILINE)
    return {tuple(use.split()) for use in uses}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    inside = [target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in inside if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_make_targets_are_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page.read_text(), re.MULTILINE)) <= {
        pair for target in targets for pair in ((target, ""), ("", target))
    }


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_paths_of_the_project_in_backticks_are_there(page: Path) -> None:
    named = re.findall(r"`((?:src|tests|docs|scripts|requirements|\.ci)/[\w./-]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_pages_that_the_code_names_are_there() -> None:
    sources = [path.read_text() for path in (ROOT / "src").rglob("*.py")]
    named = {path for text in sources for path in re.findall(r"docs/reference(?:/[\w-]+\.md)?", text)}
    assert "docs/reference/proxy-routes.md" in named
    # The folder alone says where to look for nothing.
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_variables_are_there(page: Path) -> None:
    named = set(re.findall(r"MYCELOS_[A-Z_]+[A-Z]", page.read_text()))
    assert {name for name in named if not name.startswith(TEST_PREFIX)} <= NAMES


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_are_there(page: Path) -> None:
    from mycelos.cli.main import make_app

    for words in sorted(words_of_commands(page.read_text())):
        chain, _, _ = make_app().parse_commands(list(words))
        assert chain, f"mycelos {' '.join(words)}"


def test_the_reference_is_what_the_code_says() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate_reference.py"), "--check"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_commands_are_found_in_blocks_and_in_backticks() -> None:
    text = "Run `mycelos db audit --json` or\n\n```sh\nmycelos credential add github --template github\n```\n"
    assert words_of_commands(text) == {("db", "audit"), ("credential", "add", "github")}
