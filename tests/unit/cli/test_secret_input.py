import io
import os
import socket
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


@pytest.mark.parametrize("data", [b"s3cret-8", b"s3cret-8\n", b"s3cret-8\r\n"])
def test_one_line_break_at_the_end_is_not_part_of_the_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes
) -> None:
    assert from_stdin(monkeypatch, data) == "s3cret-8"
    path = tmp_path / "token"
    path.write_bytes(data)
    assert read_secret(stdin=False, from_file=path, prompt="") == "s3cret-8"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"ab\n", "shorter than 8 bytes"),
        (b"s3cret-8\n\n", "line break"),
        (b"s3cret-8\nmore\n", "line break"),
        (b"s3\x00cret-8", "NUL"),
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
    assert "s3cret-8" not in str(caught.value)


def test_the_longest_secret_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(from_stdin(monkeypatch, b"a" * SECRET_LIMIT + b"\r\n")) == SECRET_LIMIT


def test_at_a_terminal_it_is_asked_for_without_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "s3cret-8"

    monkeypatch.setattr("getpass.getpass", answer)
    with Input(b"", is_terminal=True) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        assert read_secret(stdin=False, from_file=None, prompt="Secret: ") == "s3cret-8"
    assert asked == ["Secret: "]


def test_without_a_terminal_or_with_two_sources_the_ways_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with Input(b"s3cret-8") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CommandError, match="--stdin or --from-file"):
            read_secret(stdin=False, from_file=None, prompt="")
    with pytest.raises(CommandError, match="exclude each other"):
        read_secret(stdin=True, from_file=tmp_path, prompt="")
    with pytest.raises(CommandError, match="cannot be read"):
        read_secret(stdin=False, from_file=tmp_path / "none", prompt="")


def test_the_longest_secret_is_read_whole_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    for ending in ("", "\n", "\r\n"):
        path.write_text("a" * SECRET_LIMIT + ending, newline="")
        assert len(read_secret(stdin=False, from_file=path, prompt="")) == SECRET_LIMIT


@pytest.mark.parametrize(
    "data",
    [b"a" * (SECRET_LIMIT + 1), b"a" * 10_000_000, "ü".encode() * 40_000, b"\xff" * 100_000],
    ids=["one byte too long", "ten million bytes", "two-byte letters", "binary"],
)
def test_what_is_too_long_is_told_its_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(data)
    with pytest.raises(CommandError, match="longer than 65536 bytes"):
        read_secret(stdin=False, from_file=path, prompt="")
    with pytest.raises(CommandError, match="longer than 65536 bytes"):
        from_stdin(monkeypatch, data)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00\x01binary", bytes(range(256)), b"\xed\xa0\x80surrogate"])
def test_binary_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    with pytest.raises(CommandError, match="not valid UTF-8"):
        from_stdin(monkeypatch, data)


def test_what_is_no_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, kind in (
            (tmp_path, "a folder, not a file"),
            (tmp_path / "pipe", "a pipe, not a file"),
            (tmp_path / "link", "a pipe, not a file"),
            (Path("/dev/zero"), "a device or a socket, not a file"),
            (tmp_path / "socket", "cannot be read"),
            (tmp_path / "none", "No such file"),
            (tmp_path / "a\0b", "holds a NUL"),
            (tmp_path / ("x" * 300), "File name too long"),
        ):
            with pytest.raises(CommandError, match=kind) as caught:
                read_secret(stdin=False, from_file=path, prompt="")
            assert "--from-file" in str(caught.value)
            assert caught.value.exit_code == 2


def test_a_link_to_a_file_is_followed_and_one_that_leads_nowhere_or_in_a_circle_is_an_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret-8\n")
    token.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(token)
    assert read_secret(stdin=False, from_file=link, prompt="") == "s3cret-8"
    token.unlink()
    with pytest.raises(CommandError, match="No such file"):
        read_secret(stdin=False, from_file=link, prompt="")
    token.symlink_to(link)
    with pytest.raises(CommandError, match="symbolic links"):
        read_secret(stdin=False, from_file=link, prompt="")


@pytest.mark.parametrize(("mode", "is_said"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_file_that_others_may_open_is_read_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, is_said: bool
) -> None:
    path = tmp_path / "token"
    path.write_text("s3cret-8")
    path.chmod(mode)
    assert read_secret(stdin=False, from_file=path, prompt="") == "s3cret-8"
    said = capsys.readouterr()
    assert ("other users may open" in said.err) == is_said
    assert said.out == ""
    assert "s3cret-8" not in said.err


@pytest.mark.parametrize(
    "answer", ["", "ab", "s3cret\x008", "s3cret-8\r", " s3cret-8", "a" * (SECRET_LIMIT + 1), "\udcff" * 9]
)
def test_at_a_terminal_the_same_is_refused(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setattr("getpass.getpass", lambda _: answer)
    with Input(b"", is_terminal=True) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(CommandError, match=r"^secret: ") as caught:
            read_secret(stdin=False, from_file=None, prompt="")
    assert caught.value.exit_code == 2
