"""Every `mycelos ...` that a page, a refusal or a help text names is a command line that the parser takes."""

from __future__ import annotations

import ast
import html
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from cyclopts import App, CycloptsError

from mycelos.cli.data_directory import take_data_directory
from mycelos.cli.main import make_app

SOURCE = Path(__file__).resolve().parents[2] / "src" / "mycelos"
PAGES = sorted(SOURCE.rglob("*.html"))
MODULES = sorted(SOURCE.rglob("*.py"))

COMMAND = re.compile(r"(?<![\w./-])mycelos [a-z-]+(?:\"[^\"\n]*\"|'[^'\n]*'|(?![;,()\"\n]|(?<=\S)[.:](?:\s|$)| - ).)*")
"""A command in prose: up to the end of its line, clause or sentence. What stands in quotes belongs to it."""

NOT_COMMANDS = frozenset({"word"})
"""A command that the code fills in."""


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@cache
def _app() -> App:
    return make_app()


def fault_of(command: str, *, is_whole: bool) -> str | None:
    """Why the parser would refuse ``command``, or None. Nothing is run.

    Where the end of the command is not marked, prose may follow it: the longest part that parses counts, if it holds
    every option. The bare name of a command or of a group points to its help and is always fine.
    """
    tokens, _ = take_data_directory(shlex.split(command.removeprefix("mycelos ")))
    if set(tokens) <= {"--help", "--version"}:
        return None
    chain, found, rest = _app().parse_commands([token for token in tokens if token != "--help"])
    if not chain or (found[-1].default_command is None and rest):
        return f"{command}: there is no such command"
    if not rest:
        return None
    arguments = tokens[len(chain) :]
    options = [number for number, token in enumerate(arguments) if token.startswith("--")]
    shortest = len(arguments) if is_whole else (options[-1] + 1 if options else 0)
    fault = ""
    for length in range(len(arguments), shortest - 1, -1):
        if length == 0:
            return None
        try:
            _app().parse_args([*chain, *arguments[:length]], print_error=False, exit_on_error=False)
        except CycloptsError as error:
            fault = fault or str(error)
        else:
            return None
    return f"{command}: {fault}"


def commands_of_page(text: str) -> list[str]:
    """Each line of the elements `pre` and `code` that begins with the program's name; a template's values are words."""
    plain = re.sub(r"\{\{.*?\}\}", "word", text)
    elements = re.findall(r"<(pre|code)\b[^>]*>(.*?)</\1>", plain, re.DOTALL)
    lines = (html.unescape(line).strip() for _, content in elements for line in content.splitlines())
    return [line for line in lines if line.startswith("mycelos ")]


def commands_of_module(text: str) -> list[tuple[str, bool]]:
    """The commands in a module's strings, and whether backticks mark the end of each."""
    found: list[tuple[str, bool]] = []
    for words in _texts(ast.parse(text)):
        marked = re.compile(r"(?<!`)`(?:``?)?(mycelos [^`]+)`")
        found += [(" ".join(command.split()), True) for command in marked.findall(words)]
        rest = marked.sub("", words)
        for command in COMMAND.findall(rest):
            if command.split()[1] not in NOT_COMMANDS and not re.match(rf"{re.escape(command)}:", rest):
                found.append((command.strip(), False))
    return found


def _texts(tree: ast.AST) -> list[str]:
    """Each string once, with the values of an f-string as the word `word`."""
    joined = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    inside = {id(part) for node in joined for part in ast.walk(node) if part is not node}
    texts = [
        "".join(str(part.value) if isinstance(part, ast.Constant) else "word" for part in node.values)
        for node in joined
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            texts.append(node.value)
    return texts


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_each_command_on_a_page_is_one(page: Path) -> None:
    faults = (fault_of(command, is_whole=True) for command in commands_of_page(page.read_text()))
    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_each_command_that_a_text_of_the_code_names_is_one(module: Path) -> None:
    faults = (fault_of(command, is_whole=whole) for command, whole in commands_of_module(module.read_text()))
    assert [fault for fault in faults if fault] == []


@pytest.mark.parametrize(
    "command",
    [
        "mycelos model add mine --format openai --base-url http://HOST:PORT/v1 --model MODEL",
        "mycelos model add claude --format anthropic --model MODEL",
        "mycelos telepathy",
        "mycelos model telepathy",
        "mycelos agent telepathy --json",
    ],
)
def test_a_dead_command_on_a_page_is_found(command: str) -> None:
    assert fault_of(command, is_whole=True)
    assert commands_of_page(f'<p>Run <code class="command">{command}</code></p>') == [command]


@pytest.mark.parametrize(
    "text", ["Run: mycelos telepathy", "See `mycelos doctor --telepathy`", "mycelos model list --all, then wait"]
)
def test_a_dead_command_in_a_text_is_found(text: str) -> None:
    ((command, whole),) = commands_of_module(repr(text))
    assert fault_of(command, is_whole=whole)


def test_commands_are_found_in_prose_and_in_formatted_text() -> None:
    module = "f'Run mycelos agent show {name}. Or {other}: mycelos db audit verify; then `mycelos doctor --json`'"
    assert sorted(commands_of_module(module)) == [
        ("mycelos agent show word", False),
        ("mycelos db audit verify", False),
        ("mycelos doctor --json", True),
    ]
    assert fault_of("mycelos serve sets it", is_whole=False) is None
