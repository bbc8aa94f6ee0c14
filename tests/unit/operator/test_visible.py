import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.operator.visible import Look, lines_of, visible, visible_text

TRICKS = st.text(
    st.sampled_from(" \n\t\r|:a1\u00a0\u200b\u202e\u0301\ufffc\u2800\u3164\u27e8\u27e9\u00d7\u05d0\u00e9é世")
)
"""What the stranger made his pairs of, and what would look like ours."""
ANY = st.one_of(st.text(st.characters()), TRICKS)


def undone(shown: str) -> str:
    """A second reading, which knows of the mapping what its documentation says."""

    def read(found: re.Match[str]) -> str:
        character = " " if found[1] == "space" else chr(int(found[1].removeprefix("U+"), 16))
        return character * int(found[2] or "1")

    return re.sub(r"⟨(space|U\+[0-9A-F]{4,6})(?:×([0-9]+))?⟩", read, shown)


@pytest.mark.parametrize(
    "character",
    ["\x00", "\t", "\r", "\n", "\x1b", "\x7f", "\x85", "\xa0", "\xad", "\u200b", "\u200d", "\u202e", "\u2028", "\u2066",
     "\u3000", "\u3164", "\u2800", "\ufeff", "\ufe0f", "\u0301", "\ue000", "\ud800", "\U000e0041", "\u27e8", "\u27e9",
     "\ufffc", "\U0001d159", "\U00013441", "\u09be", "\u2126", "\u1100", "\uff21", "\u2011", "\u2024",
     "\u203a"],
)  # fmt: skip
@pytest.mark.parametrize("in_terminal", [False, True])
def test_a_character_that_does_not_show_or_is_a_form_of_another_one_is_written_out(
    character: str, in_terminal: bool
) -> None:
    written = f"⟨U+{ord(character):04X}⟩"
    pieces = [("a", Look.PLAIN), (written, Look.WRITTEN), ("b", Look.PLAIN)]
    assert list(visible(f"a{character}b", in_terminal=in_terminal)) == pieces
    assert visible_text(character * 200) == f"{written[:-1]}×200⟩"


def test_the_sign_for_what_could_not_be_read_is_written_out() -> None:
    assert visible_text("\ufffd") == "⟨U+FFFD⟩"


def test_letters_and_signs_stay_and_those_beyond_ascii_are_named() -> None:
    text = "Grüße, 世界! {credential} <b>&amp;</b>"
    assert visible_text(text) == text
    letters = [piece for piece, look in visible(text) if look is Look.LETTERS]
    assert letters == ["üß", "世界"]
    assert list(visible("")) == []


def test_only_a_space_between_two_characters_that_show_stays_one() -> None:
    assert list(visible("a b")) == [("a", Look.PLAIN), (" ", Look.SPACE), ("b", Look.PLAIN)]
    for text, shown in {
        " a": "⟨space⟩a", "a ": "a⟨space⟩", " ": "⟨space⟩", "a  b": "a⟨space×2⟩b", "a" + " " * 200: "a⟨space×200⟩",
        "a \n": "a⟨space⟩⟨U+000A⟩", "\u200b a": "⟨U+200B⟩⟨space⟩a",
    }.items():  # fmt: skip
        assert visible_text(text) == shown


def test_in_a_terminal_what_runs_from_right_to_left_is_written_out() -> None:
    for character in "\u05d0\u0661\u0627":
        assert visible_text(character) == character
        assert visible_text(character, in_terminal=True) == f"⟨U+{ord(character):04X}⟩"


@given(ANY, st.booleans())
def test_the_mapping_can_be_undone(text: str, in_terminal: bool) -> None:
    assert undone(visible_text(text, in_terminal=in_terminal)) == text


@given(ANY, ANY)
def test_two_different_texts_are_shown_differently(one: str, other: str) -> None:
    assert (visible_text(one) == visible_text(other)) == (one == other)


@given(ANY)
def test_nothing_that_does_not_show_is_left(text: str) -> None:
    shown = visible_text(text)
    assert not re.search(r"^ | $|  ", shown)
    for character in shown:
        assert character == " " or unicodedata.category(character)[0] not in "CZM"


@given(ANY)
def test_lines_are_the_text_and_each_ends_where_a_line_feed_is(text: str) -> None:
    lines = lines_of(text)
    assert "".join(lines) == text
    assert all("\n" not in line[:-1] for line in lines)
    assert all(line.endswith("\n") for line in lines[:-1])
