import os
import socket
from pathlib import Path

import pytest

from mycelos.sandbox import kernel, landlock
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.landlock import FileAccess


def restrict(*rules: tuple[str | int, int]) -> None:
    kernel.set_no_new_privileges()
    landlock.restrict(landlock.handled_by(kernel.landlock_abi()), rules)


def outcome(attempt) -> str:
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return "done"


def bind_unix(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def test_only_what_a_rule_allows_can_be_reached(tmp_path: Path, in_child) -> None:
    for name in ("read", "write", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")

    def attempts() -> object:
        return {
            "read": outcome((tmp_path / "read" / "file").read_text),
            "write where only read is allowed": outcome(lambda: (tmp_path / "read" / "file").write_text("y")),
            "empty where only read is allowed": outcome(lambda: os.truncate(tmp_path / "read" / "file", 0)),
            "write": outcome(lambda: (tmp_path / "write" / "new").write_text("y")),
            "link": outcome(lambda: (tmp_path / "write" / "link").symlink_to("x")),
            "socket": outcome(lambda: bind_unix(tmp_path / "write" / "socket")),
            "execute": outcome(lambda: os.posix_spawn("/bin/true", ["true"], {})),
            "closed": outcome((tmp_path / "closed" / "file").read_text),
            "list": outcome(lambda: os.listdir(tmp_path / "closed")),
            "signal": outcome(lambda: os.kill(os.getppid(), 0)),
            "tcp": outcome(lambda: socket.create_server(("127.0.0.1", 0)).close()),
        }

    def confined() -> object:
        restrict((str(tmp_path / "read"), landlock.READ), (str(tmp_path / "write"), landlock.WRITE))
        return attempts()

    refused = {
        "write where only read is allowed", "empty where only read is allowed", "link", "socket", "execute", "closed",
        "list", "signal", "tcp",
    }  # fmt: skip
    expected = {name: "PermissionError" if name in refused else "done" for name in attempts()}
    for leftover in ("new", "link", "socket"):
        (tmp_path / "write" / leftover).unlink()
    (tmp_path / "read" / "file").write_text("x")
    assert in_child(confined) == str(expected)


def test_without_the_wall_each_of_these_attempts_succeeds(tmp_path: Path, in_child) -> None:
    (tmp_path / "file").write_text("x")
    assert outcome(lambda: os.truncate(tmp_path / "file", 0)) == "done"
    assert in_child(lambda: outcome(lambda: os.kill(os.getppid(), 0))) == "done"
    assert outcome(lambda: (tmp_path / "link").symlink_to("x")) == "done"


def test_each_abi_handles_what_it_knows() -> None:
    assert landlock.handled_by(1) == landlock.Handled((1 << 13) - 1, 0, 0)
    assert landlock.handled_by(3).files & FileAccess.TRUNCATE
    assert landlock.handled_by(4).network == 0b11
    assert (landlock.handled_by(5).scopes, landlock.handled_by(6).scopes) == (0, 0b11)
    assert landlock.handled_by(9).files == (1 << 17) - 1
    assert landlock.handled_by(10).network == 0b1111


def test_a_kernel_that_is_too_old_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 4)
    assert landlock.require_abi(3) == 4
    with pytest.raises(SandboxRefused, match="landlock-scope.*ABI 4, and 6 is needed"):
        landlock.require_abi(6)


def test_a_path_that_is_missing_or_closed_stops_everything(in_child, tmp_path: Path) -> None:
    with pytest.raises(SandboxRefused) as refused:
        restrict((str(tmp_path / "missing"), landlock.READ))
    assert refused.value.layer is Layer.LANDLOCK
