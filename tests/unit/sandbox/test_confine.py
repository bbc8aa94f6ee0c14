import ctypes
import fcntl
import os
import pty
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from mycelos.sandbox import confine, kernel
from mycelos.sandbox.confine import confine_gateway, confine_operator
from mycelos.sandbox.errors import Layer, SandboxRefused

GATEWAY = Path(confine.__file__).parents[3] / "tests" / "support" / "sandbox_gateway.py"
WAIT = 30.0
PR_GET_DUMPABLE = 3
SO_ATTACH_FILTER = 26
SO_LOCK_FILTER = 44
ALL = {
    Layer.CAPABILITIES, Layer.NO_NEW_PRIVILEGES, Layer.LANDLOCK_SCOPE, Layer.LANDLOCK, Layer.DESCRIPTORS, Layer.SECCOMP,
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("gateway/state", "proxy"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".master_key").write_text("key")
    (tmp_path / "proxy" / "vault.sqlite").write_text("vault")
    (tmp_path / "proxy" / "operator.token").write_text("token")
    return tmp_path


def outcome(attempt) -> str:
    try:
        return str(attempt())
    except OSError as error:
        return type(error).__name__


def test_a_confined_gateway_serves_stores_receives_and_imports(data: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    near, far = socket.socketpair()
    with listener, ours, near:
        gateway = subprocess.Popen(
            [sys.executable, "-I", str(GATEWAY), str(data), str(listener.fileno()), str(theirs.fileno())],
            pass_fds=[listener.fileno(), theirs.fileno()],
        )
        theirs.close()
        try:
            socket.send_fds(ours, [b"channel"], [far.fileno()])
            far.close()
            with urllib.request.urlopen(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=WAIT) as answer:
                lines = answer.read().decode().splitlines()
            assert lines == ["wal 1", "sent", "openai anthropic", "1", "True"]
            near.settimeout(WAIT)
            assert near.recv(100) == b"over a descriptor"
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(WAIT)


def spoil(descriptors: list[int]) -> list[str]:
    """Let nothing in any more on each socket, and let nobody undo that."""
    nothing = (ctypes.c_char * 8).from_buffer_copy(struct.pack("HBBI", 6, 0, 0, 0))  # return 0
    program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(nothing))
    outcomes = []
    for descriptor in descriptors:
        shared = socket.socket(fileno=descriptor)
        for option, value in ((SO_ATTACH_FILTER, program), (SO_LOCK_FILTER, struct.pack("i", 1))):
            outcomes.append(outcome(lambda s=shared, o=option, v=value: s.setsockopt(socket.SOL_SOCKET, o, v)))
        shared.detach()
    return outcomes


def still_works(listener: socket.socket, kept: socket.socket, far: socket.socket) -> list[bool]:
    """What the next gateway on the same sockets finds: whether it is reached, and whether it is answered."""
    far.setblocking(False)
    with socket.socket() as browser:
        browser.setblocking(False)
        browser.connect_ex(listener.getsockname())
        is_reached = bool(select.select([listener], [], [], 1)[0])
    is_answered = outcome(lambda: far.send(b"answer")) == "6" and bool(select.select([kept], [], [], 1)[0])
    return [is_reached, is_answered]


@pytest.mark.parametrize("is_walled", [True, False])
def test_a_gateway_cannot_spoil_its_sockets_for_the_next_one(data: Path, in_child, is_walled: bool) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    far, kept = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def hijacked() -> object:
        descriptors = [listener.fileno(), kept.fileno()]
        if is_walled:
            confine_gateway(data, [50, *descriptors])
        return spoil(descriptors)

    with listener, far, kept:
        assert in_child(hijacked) == str(["PermissionError" if is_walled else "None"] * 4)
        assert still_works(listener, kept, far) == [is_walled, is_walled]


@pytest.mark.parametrize("is_walled", [True, False])
def test_a_gateway_makes_nobody_wait_for_a_file_that_it_may_only_read(data: Path, is_walled: bool) -> None:
    # As installed code is to it: of the same owner, and its to read.
    code = data / "gateway" / "state" / "code.pyc"
    code.write_bytes(b"code")
    reading, writing = os.pipe()
    holding, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        if is_walled:
            confine_gateway(data, [writing, holding])
        descriptor = os.open(code, os.O_RDONLY)
        answer = outcome(lambda: fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK))
        os.write(writing, answer.encode())
        os.read(holding, 1)
        os._exit(0)
    try:
        assert os.read(reading, 100).decode() == ("PermissionError" if is_walled else "0")
        opened = outcome(lambda: os.close(os.open(code, os.O_RDONLY | os.O_NONBLOCK)))
        assert opened == ("None" if is_walled else "BlockingIOError")
    finally:
        os.close(release)
        os.waitpid(child, 0)
        for descriptor in (reading, writing, holding):
            os.close(descriptor)


@pytest.mark.parametrize("wall", [confine_gateway, confine_operator])
def test_what_is_typed_into_the_terminal_of_the_start_cannot_be_read(data: Path, in_child, wall) -> None:
    typed, terminal = pty.openpty()

    def confined() -> object:
        # As the supervisor leaves it: the terminal open both ways, and no session that would stop a reader.
        os.setsid()
        os.dup2(terminal, 1)
        os.dup2(terminal, 2)
        wall(data, [50])
        return [outcome(lambda: os.read(1, 100)), outcome(lambda: os.read(2, 100)), os.write(1, b"said"), os.isatty(1)]

    os.write(typed, b"a secret for the vault\n")
    try:
        assert in_child(confined) == "['OSError', 'OSError', 4, True]"
        assert b"said" in os.read(typed, 100)
    finally:
        os.close(typed)
        os.close(terminal)


def test_the_gateway_writes_its_own_folder_and_reads_nothing_that_is_kept(data: Path, in_child) -> None:
    def confined() -> object:
        report = confine_gateway(data, [50])
        assert (set(report.layers), report.missing) == (ALL, ())
        return [
            outcome(lambda: (data / "gateway" / "state" / "new").write_text("x")),
            outcome((data / ".master_key").read_text),
            outcome((data / "proxy" / "vault.sqlite").read_text),
            outcome(lambda: (data / "gateway" / "gateway.toml").write_text("x")),
            outcome(lambda: (data / "gateway" / "state" / "link").symlink_to("x")),
            outcome(lambda: os.link(data / "proxy" / "vault.sqlite", data / "gateway" / "state" / "vault")),
            outcome(lambda: Path(os.__file__).read_text() and "code"),
            outcome(lambda: Path(os.__file__).open("a")),
            outcome(lambda: os.kill(os.getppid(), 0)),
        ]

    denied = "PermissionError"
    assert in_child(confined) == str(["1", denied, denied, denied, denied, "OSError", "code", denied, denied])


def test_what_is_open_and_not_named_is_closed(data: Path, in_child) -> None:
    def confined() -> object:
        leaked = os.dup2(os.open(data / ".master_key", os.O_RDONLY), 80)
        kept = os.dup2(os.open(data / "proxy" / "operator.token", os.O_RDONLY), 81)
        confine_gateway(data, [50, kept])
        return outcome(lambda: os.read(leaked, 9)), outcome(lambda: os.read(kept, 9))

    assert in_child(confined) == str(("OSError", "b'token'"))


def test_it_has_no_capability_and_gains_none(data: Path, in_child) -> None:
    def confined() -> object:
        status = os.open("/proc/self/status", os.O_RDONLY)
        confine_gateway(data, [50, status])
        text = os.read(status, 9000).decode()
        return [text.split(f"{name}:")[1].split()[0] for name in ("NoNewPrivs", "CapPrm", "CapEff")]

    assert in_child(confined) == str(["1", "0" * 16, "0" * 16])


def test_it_cannot_be_looked_into_and_leaves_no_core(in_child) -> None:
    def renounced() -> object:
        confine._renounce()
        return kernel.process_control(PR_GET_DUMPABLE), resource.getrlimit(resource.RLIMIT_CORE)

    assert in_child(renounced) == str((0, (0, 0)))


def test_the_operator_page_reads_its_token_and_connects_to_unix_sockets_only(data: Path, in_child) -> None:
    def confined() -> object:
        confine_operator(data, [50])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(data / "proxy" / "operator.sock"))
        return [
            outcome((data / "proxy" / "operator.token").read_text),
            outcome((data / ".master_key").read_text),
            outcome((data / "proxy" / "vault.sqlite").read_text),
            outcome(lambda: (data / "gateway" / "state" / "new").write_text("x")),
            outcome(lambda: socket.socket(socket.AF_INET)),
        ]

    listener = socket.socket(socket.AF_UNIX)
    folder = os.getcwd()
    os.chdir(data / "proxy")
    listener.bind("operator.sock")
    os.chdir(folder)
    with listener:
        listener.listen()
        assert in_child(confined) == str(["token", *["PermissionError"] * 4])


def test_the_operator_page_does_not_start_before_there_is_a_token(data: Path, in_child) -> None:
    (data / "proxy" / "operator.token").unlink()

    def confined() -> object:
        with pytest.raises(SandboxRefused) as refused:
            confine_operator(data, [50])
        return refused.value.cause

    assert "operator.token" in in_child(confined)


@pytest.mark.parametrize("wall", [confine_gateway, confine_operator])
def test_a_missing_wall_is_refused_by_name_unless_it_is_accepted(data: Path, in_child, wall, monkeypatch) -> None:
    def no_landlock() -> int:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(kernel, "landlock_abi", no_landlock)

    def refused() -> object:
        with pytest.raises(SandboxRefused) as error:
            wall(data, [50])
        return error.value.layer.value

    def accepted() -> object:
        report = wall(data, [50], accept_missing=frozenset({"landlock"}))
        return [layer.value for layer in report.missing], outcome((data / ".master_key").read_text)

    assert in_child(refused) == "landlock"
    # The wall is really gone: what it kept can be read.
    assert in_child(accepted) == str((["landlock"], "key"))


def test_missing_scopes_are_a_wall_of_their_own(data: Path, in_child, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 5)

    def refused() -> object:
        with pytest.raises(SandboxRefused) as error:
            confine_gateway(data, [50])
        return error.value.layer.value

    def accepted() -> object:
        report = confine_gateway(data, [50], accept_missing=frozenset({"landlock-scope"}))
        return [layer.value for layer in report.missing], outcome((data / ".master_key").read_text)

    assert in_child(refused) == "landlock-scope"
    assert in_child(accepted) == str((["landlock-scope"], "PermissionError"))


def test_a_process_with_a_second_thread_is_refused(data: Path, in_child) -> None:
    def confined() -> object:
        release = threading.Event()
        thread = threading.Thread(target=release.wait, args=(WAIT,))
        thread.start()
        with pytest.raises(SandboxRefused, match="2 threads"):
            confine_gateway(data, [50])
        release.set()
        thread.join(WAIT)
        return "refused"

    assert in_child(confined) == "refused"


def test_a_data_folder_inside_what_everyone_may_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = Path(sys.prefix) / "lib" / "data"
    with pytest.raises(SandboxRefused, match="MYCELOS_DATA_DIR") as refused:
        confine_gateway(inside, [])
    assert refused.value.layer is Layer.INSTALLATION


def attacks_on_its_settings(data: Path) -> list[str]:
    """What a hijacked gateway would do to choose what it is started with next."""
    own, settings = data / "gateway" / "state" / "draft", data / "gateway" / "gateway.toml"
    own.write_text("[runs]\\nat_once = 64\\n")
    elsewhere = data / "gateway" / "state" / "elsewhere"
    elsewhere.mkdir()
    return [
        outcome(lambda: settings.write_text("x")),
        outcome(lambda: os.truncate(settings, 0)),
        outcome(lambda: own.replace(settings) and "replaced"),
        outcome(lambda: os.link(own, data / "gateway" / "gateway.toml.new")),
        outcome(settings.unlink),
        outcome(lambda: (data / "gateway" / "new").write_text("x")),
        outcome((data / "gateway" / "folder").mkdir),
        outcome(lambda: (data / "gateway").rename(data / "gateway-old")),
        outcome(lambda: (data / "gateway" / "state").rename(data / "gateway" / "moved")),
    ]


def test_a_hijacked_gateway_cannot_write_replace_or_remove_its_settings(data: Path, in_child) -> None:
    settings = data / "gateway" / "gateway.toml"
    settings.write_text("[runs]\nat_once = 1\n")

    def confined() -> object:
        confine_gateway(data, [50])
        return attacks_on_its_settings(data)

    assert "1" not in in_child(confined).replace("Errno 1", "")
    assert settings.read_text() == "[runs]\nat_once = 1\n"
    assert sorted(path.name for path in (data / "gateway").iterdir()) == ["gateway.toml", "state"]


def test_where_the_whole_folder_can_be_written_the_same_attacks_succeed(data: Path, in_child, monkeypatch) -> None:
    settings = data / "gateway" / "gateway.toml"
    settings.write_text("[runs]\nat_once = 1\n")
    monkeypatch.setattr(confine, "DataLayout", lambda root: SimpleNamespace(gateway=root / "gateway"))

    def confined() -> object:
        confine_gateway(data, [50])
        draft = data / "gateway" / "state" / "draft"
        draft.write_text("[runs]\nat_once = 64\n")
        draft.replace(settings)

    assert in_child(confined) == "None"
    assert settings.read_text() == "[runs]\nat_once = 64\n"
