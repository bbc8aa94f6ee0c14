import io
import sys
from pathlib import Path

import pytest

from mycelos.cli.output import CommandError
from mycelos.cli.secret_input import read_secret
from mycelos.wire.operator import SECRET_LIMIT


class Input(io.TextIOWrapper):
    def __init__(self, data: bytes, is_terminal: bool = False) -> None:
        super().__init__(io.BytesIO(data))
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


def from_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> str:
    with Input(data) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        return read_secret(stdin=True, from_file=None, prompt="")


@pytest.mark.parametrize("data", [b"s3cret", b"s3cret\n", b"s3cret\r\n"])
def test_one_line_break_at_the_end_is_not_part_of_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes
) -> None:
    assert from_stdin(monkeypatch, data) == "s3cret"
    path = tmp_path / "token"
    path.write_bytes(data)
    assert read_secret(stdin=False, from_file=path, prompt="") == "s3cret"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"s3cret\n\n", "line break"),
        (b"s3cret\nmore\n", "line break"),
        (b"s3\x00cret", "NUL"),
        (b"\xff\xfe", "UTF-8"),
        (b"a" * (SECRET_LIMIT + 1), "longer than 65536 bytes"),
        (b"a" * (SECRET_LIMIT + 1000), "longer than 65536 bytes"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_without_quoting_it(
    monkeypatch: pytest.MonkeyPatch, data: bytes, why: str
) -> None:
    with pytest.raises(CommandError, match=why) as caught:
        from_stdin(monkeypatch, data)
    assert "s3cret" not in str(caught.value)


def test_the_longest_secret_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(from_stdin(monkeypatch, b"a" * SECRET_LIMIT + b"\r\n")) == SECRET_LIMIT


def test_at_a_terminal_it_is_asked_for_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret"

    monkeypatch.setattr("getpass.getpass", answer)
    with Input(b"", is_terminal=True) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert read_secret(stdin=False, from_file=None, prompt="Secret: ") == "s3cret"
    assert asked == ["Secret: "]


def test_without_a_terminal_or_with_two_sources_the_ways_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Input(b"s3cret") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CommandError, match="--stdin or --from-file"):
            read_secret(stdin=False, from_file=None, prompt="")
    with pytest.raises(CommandError, match="exclude each other"):
        read_secret(stdin=True, from_file=tmp_path, prompt="")
    with pytest.raises(CommandError, match="cannot be read"):
        read_secret(stdin=False, from_file=tmp_path / "none", prompt="")
