import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mycelos.cli.framed import say_framed
from mycelos.operator.visible import visible_text

EVIL = st.one_of(
    st.text(st.characters()),
    st.text(st.sampled_from(" \n|a世\u27e8\u202e"), max_size=300),
    st.builds(lambda count, label: f"pay{' ' * count}{label}: x", st.integers(0, 200), st.sampled_from(["ID", "Body"])),
    st.builds(
        lambda count, label: f"{'x' * count}{label}: x", st.integers(0, 200), st.sampled_from(["ID", "No body."])
    ),
)
LABELS = ("Request:    ", "    1 | ")


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WFA" else 1 for character in line)


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("label", LABELS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVIL)
def test_each_line_begins_with_the_label_or_the_bar_and_none_is_broken_by_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int, label: str, value: str
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    say_framed(label, value)
    first, *rest = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert first.startswith(label)
    further = " " * (len(label) - 2) + "| "
    assert all(line.startswith(further) for line in rest)
    assert all(columns(line) < width for line in (first, *rest))
    # What is behind labels and bars is the value, and nothing else.
    found = [line[len(label) :] for line in (first, *rest)]
    assert all(line.endswith("|") for line in found[:-1])
    together = "".join([*(line[:-1] for line in found[:-1]), found[-1]])
    assert together == visible_text(value, in_terminal=True)


def test_a_space_before_a_break_is_seen_and_what_is_written_out_is_not_broken(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    for value in ("x" * 29 + " " + "y" * 5, "x" * 29 + "y" * 5, "x" * 25 + "\u202e" + "y"):
        say_framed("  1 | ", value)
    written = capsys.readouterr().out
    assert re.search(r"^  1 \| x+ y+\|\n    \| y+$", written, re.MULTILINE)
    assert "⟨U+202E⟩" in written
