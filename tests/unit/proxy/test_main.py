from __future__ import annotations

import base64
import json
import os
import re
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from kept_installation import MASTER_KEY, Copy, Kept, a_binding, once
from witnessed_log import MemoryLog, numbered

from mycelos.configuration.layout import DataLayout
from mycelos.configuration.witness import WitnessSettings
from mycelos.ledger.events import Event
from mycelos.ledger.query import EventQuery
from mycelos.operator.client import OperatorClient
from mycelos.proxy import main
from mycelos.proxy.ledger.database import LedgerError
from mycelos.proxy.ledger.heads import outside_of
from mycelos.proxy.main import open_stores
from mycelos.proxy.vault.installation import installation_of
from mycelos.proxy.witness.last_set import LastSet, LastSetKeeper
from mycelos.proxy.witness.record_file import append
from mycelos.proxy.witness.remembered import cosigned_file
from mycelos.wire import operator as messages

KEY = base64.b64encode(bytes(range(32))).decode()
TOKEN = "t" * 43
NONCE = "0" * 32


AS_IT_IS = ("-m", "mycelos.proxy")


def changed(*lines: str) -> tuple[str, str]:
    """The arguments of a proxy in which ``lines`` of Python come first."""
    text = "\n".join(("import sys", "from mycelos.proxy import main", *lines, "sys.exit(main.main(sys.argv[1:]))"))
    return "-c", text


@contextmanager
def started(
    layout: DataLayout,
    *arguments: str,
    listen: str | None = None,
    program: tuple[str, str] = AS_IT_IS,
    **environment: str,
) -> Iterator[tuple[subprocess.Popen[str], bytes, socket.socket]]:
    """A proxy process, what it wrote when it was ready, and the gateway's end of its control channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    ready, write = os.pipe()
    own = {"PATH": "/usr/bin:/bin", "MYCELOS_MASTER_KEY": KEY, "MYCELOS_PROXY_TOKEN": TOKEN} | environment
    where = ["--listen", listen] if listen else ["--control-fd", str(theirs.fileno())]
    command = [sys.executable, "-I", *program, "--data-dir", str(layout.root), *where]
    process = subprocess.Popen(
        [*command, "--ready-fd", str(write), *arguments],
        pass_fds=(theirs.fileno(), write),
        env={name: value for name, value in own.items() if value != "ABSENT"},
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    theirs.close()
    try:
        with os.fdopen(ready, "rb") as stream:
            yield process, stream.read(), ours
    finally:
        process.kill()
        process.communicate(timeout=20)
        ours.close()


def channel(control: socket.socket) -> socket.socket:
    control.send(json.dumps({"v": 1, "nonce": NONCE}).encode())
    _, (descriptor,), _, _ = socket.recv_fds(control, 1024, 4)
    connected = socket.socket(fileno=descriptor)
    connected.settimeout(20)
    return connected


def ask(connected: socket.socket, request: str) -> str:
    connected.sendall(f"{request}\r\nhost: x\r\nAuthorization: Bearer {TOKEN}\r\nMycelos-Protocol: 1\r\n\r\n".encode())
    found = b""
    while b"\r\n\r\n" not in found or not found.endswith((b"}", b"]")):
        found += connected.recv(65536)
    return found.decode()


def test_it_becomes_ready_serves_both_doors_records_its_start_and_stops_cleanly(layout: DataLayout) -> None:
    with started(layout, MYCELOS_EGRESS_OPEN="127.0.0.1:18080") as (process, ready, control):
        assert ready == b"ready\n"
        with channel(control) as connected:
            assert ask(connected, "GET /healthz HTTP/1.1").endswith('{"status":"ok"}')
            events = json.loads(ask(connected, "GET /audit/events HTTP/1.1").partition("\r\n\r\n")[2])["entries"]
        assert [entry["event"] for entry in events] == ["ledger.checkpoint", "proxy.started", "egress.opened"]
        assert (events[2]["subject"], events[2]["details"]["port"]) == ("127.0.0.1", 18080)
        assert stat.S_IMODE(layout.operator_socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(layout.operator_token.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(20)
            door.connect(str(layout.operator_socket))
            assert "401" in ask(door, "GET /status HTTP/1.1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert not layout.operator_socket.exists()


def test_its_memory_and_environment_are_closed_and_its_size_at_rest_is_small(layout: DataLayout) -> None:
    with started(layout) as (process, ready, control):
        assert ready == b"ready\n"
        with channel(control) as connected:
            ask(connected, "GET /healthz HTTP/1.1")
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = int(status.split("VmRSS:")[1].split()[0])
        assert resident < 90 * 1024, f"{resident} KiB"
        assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0


def test_it_listens_on_a_unix_socket_where_it_is_told_to(layout: DataLayout, short_directory: Path) -> None:
    path = short_directory / "gateway.sock"
    with started(layout, listen=f"unix:{path}") as (_, ready, _control):
        assert ready == b"ready\n"
        with socket.socket(socket.AF_UNIX) as connected:
            connected.settimeout(20)
            connected.connect(str(path))
            assert ask(connected, "GET /healthz HTTP/1.1").endswith('{"status":"ok"}')


def test_a_gateway_that_shuts_its_channel_down_does_not_close_the_operators_door(layout: DataLayout) -> None:
    with started(layout) as (process, ready, control):
        assert ready == b"ready\n"
        control.shutdown(socket.SHUT_RDWR)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)
        with socket.socket(socket.AF_UNIX) as operator:
            operator.connect(str(layout.operator_socket))


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"MYCELOS_PROXY_TOKEN": "ABSENT"}, "MYCELOS_PROXY_TOKEN"),
        ({"MYCELOS_PROXY_TOKEN": "short"}, "MYCELOS_PROXY_TOKEN"),
        ({"MYCELOS_MASTER_KEY": "ABSENT"}, "master key"),
        ({"MYCELOS_MASTER_KEY": "AAAA"}, "MYCELOS_MASTER_KEY"),
        ({"MYCELOS_EGRESS_OPEN": "169.254.169.254:80"}, "MYCELOS_EGRESS_OPEN"),
        ({"MYCELOS_EGRESS_OPEN": "127.0.0.1:9100"}, "MYCELOS_EGRESS_OPEN"),
        ({"MYCELOS_EGRES_OPEN": "x"}, "MYCELOS_EGRESS_OPEN"),
        ({"MYCELOS_CA_FILE": "/dev/null"}, "MYCELOS_CA_FILE"),
    ],
)
def test_what_it_cannot_start_with_is_one_clear_line_and_exit_code_1(
    layout: DataLayout, environment: dict[str, str], named: str
) -> None:
    with started(layout, **environment) as (process, ready, _):
        _, text = process.communicate(timeout=20)
        assert (process.returncode, ready) == (1, b"")
        assert named in text
        assert len(text.strip().splitlines()) == 1
        assert KEY not in text
        assert "Traceback" not in text


def test_a_folder_in_the_place_of_the_operator_s_socket_is_one_clear_line_with_the_fix(layout: DataLayout) -> None:
    layout.proxy.mkdir(mode=0o700, parents=True)
    layout.operator_socket.mkdir()
    with started(layout) as (process, ready, _):
        _, text = process.communicate(timeout=20)
    assert (process.returncode, ready) == (1, b"")
    assert f"mycelos proxy cannot start: {layout.operator_socket} is in the way" in text
    assert "Move it away" in text
    assert len(text.strip().splitlines()) == 1


def test_a_place_to_listen_that_is_taken_is_one_clear_line_with_the_fix(layout: DataLayout, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with started(layout, listen=listen, XDG_STATE_HOME=str(tmp_path)) as (process, ready, _):
            _, text = process.communicate(timeout=20)
    assert (process.returncode, ready) == (1, b"")
    assert text == (
        f"mycelos proxy cannot start: cannot listen on {listen}; check that nothing else does and that this user may\n"
    )


def test_a_gateway_that_asks_for_more_channels_than_there_are_descriptors_goes_without(
    layout: DataLayout, tmp_path: Path
) -> None:
    limit = 64
    with started(layout, XDG_STATE_HOME=str(tmp_path)) as (process, ready, control):
        assert ready == b"ready\n"
        _, most = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (limit, most))
        with ExitStack() as held:
            for _ in range(limit):
                control.send(json.dumps({"v": 1, "nonce": NONCE}).encode())
            # What is not understood is dropped as well, and stands behind all of these in the log.
            control.send(b"end")
            assert process.stderr is not None
            said = ""
            while "not understood" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            assert "no channel was handed over: the system refused (OSError EMFILE at socket:" in said
            control.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    _, descriptors, _, _ = socket.recv_fds(control, 1024, 4)
                    held.enter_context(socket.socket(fileno=descriptors[0]))
        control.settimeout(20)
        with channel(control) as connected:
            assert ask(connected, "GET /healthz HTTP/1.1").endswith('{"status":"ok"}')


def failing(layout: DataLayout, state: Path, error: str, *lines: str) -> str:
    """What a proxy says in which ``error`` is raised beside its other tasks."""
    program = changed(*lines, "async def serve(channels):", f"    raise {error}", "main.Channels.serve = serve")
    with started(layout, program=program, XDG_STATE_HOME=str(state)) as (process, _, _control):
        _, text = process.communicate(timeout=20)
        assert process.returncode == 1
    return text


def test_an_error_beside_running_tasks_is_named_as_any_other(layout: DataLayout, tmp_path: Path) -> None:
    error = "OSError(24, 'too many of /a/secret')"
    refused = r"the system refused \(OSError EMFILE at __main__:\d+\); see disk space and rights"
    assert re.fullmatch(rf"mycelos proxy cannot start: {refused}\n", failing(layout, tmp_path, error))
    # Where the group stays in the way it is an error that nobody foresaw; also then its cause is named.
    bare = failing(layout, tmp_path, error, "from contextlib import nullcontext", "main.without_groups = nullcontext")
    assert re.fullmatch(r"CRITICAL [a-z._]+: stopped by OSError EMFILE at __main__:\d+\n", bare)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("main.LedgerError('The ledger is gone.')", "mycelos proxy cannot start: The ledger is gone.\n"),
        (
            "main.VaultError(detail='It is shut.', next_step='Open it.')",
            "mycelos proxy cannot start: It is shut. Open it.\n",
        ),
    ],
)
def test_an_error_that_is_known_is_said_in_its_words_beside_running_tasks_too(
    layout: DataLayout, tmp_path: Path, error: str, said: str
) -> None:
    assert failing(layout, tmp_path, error) == said


def test_another_key_than_the_vaults_stops_the_start_and_leaves_the_vault_as_it_was(layout: DataLayout) -> None:
    with started(layout) as (process, ready, _):
        assert ready == b"ready\n"
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    before = layout.vault.read_bytes()
    other = base64.b64encode(bytes(32)).decode()
    with started(layout, MYCELOS_MASTER_KEY=other) as (process, ready, _):
        _, text = process.communicate(timeout=20)
        assert (process.returncode, ready) == (1, b"")
        assert len(text.strip().splitlines()) == 1
    assert layout.vault.read_bytes() == before


def test_a_ledger_that_is_damaged_stops_the_start(layout: DataLayout) -> None:
    with started(layout) as (process, _, _):
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    for path in layout.proxy.glob("ledger.sqlite-*"):
        path.unlink()
    layout.ledger.write_bytes(b"this is no database, it is some text" * 100)
    with started(layout) as (process, ready, _):
        _, text = process.communicate(timeout=20)
        assert (process.returncode, ready) == (1, b"")
        assert len(text.strip().splitlines()) == 1


def write_key(path: Path, key: bytes) -> None:
    path.write_bytes(base64.b64encode(key))
    path.chmod(0o600)


def test_a_rotation_that_was_killed_is_settled_before_anything_is_served(layout: DataLayout) -> None:
    """The vault says which key stays: once the next one, which the vault already has, once the present one."""
    with started(layout) as (_, ready, _):
        assert ready == b"ready\n"
    key, other = base64.b64decode(KEY), bytes(32)
    for present, following in ((other, key), (key, other)):
        write_key(layout.master_key, present)
        write_key(layout.master_key_next, following)
        with started(layout, MYCELOS_MASTER_KEY="ABSENT") as (_, ready, _):
            assert ready == b"ready\n"
        assert base64.b64decode(layout.master_key.read_bytes()) == key
        assert not layout.master_key_next.exists()


def test_where_neither_key_opens_the_vault_the_start_is_refused_and_nothing_changes(layout: DataLayout) -> None:
    with started(layout) as (_, ready, _):
        assert ready == b"ready\n"
    write_key(layout.master_key, bytes(32))
    write_key(layout.master_key_next, bytes(range(1, 33)))
    before = [path.read_bytes() for path in (layout.master_key, layout.master_key_next)]
    with started(layout, MYCELOS_MASTER_KEY="ABSENT") as (process, ready, _):
        _, text = process.communicate(timeout=20)
    assert (ready, process.returncode) == (b"", 1)
    assert "Neither" in text
    assert [path.read_bytes() for path in (layout.master_key, layout.master_key_next)] == before


def stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def refused_start(layout: DataLayout, **environment: str) -> str:
    with started(layout, **environment) as (process, ready, _):
        _, text = process.communicate(timeout=20)
        assert (process.returncode, ready) == (1, b"")
        assert len(text.strip().splitlines()) == 1
    assert "mycelos backup adopt" in text
    return text


def change(layout: DataLayout, name: str) -> None:
    store = messages.StoreCredential(service=name, secret="a-secret-of-tests", bindings=(a_binding(),))
    OperatorClient(layout).store(store)


def test_an_old_copy_stops_the_start_and_the_newest_one_starts_again(layout: DataLayout, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    with started(layout, **state) as (process, ready, _):
        assert ready == b"ready\n"
        change(layout, "github")
        stop(process)
    old = Copy(layout, tmp_path / "old")
    with started(layout, **state) as (process, _, _):
        change(layout, "gitlab")
        stop(process)
    new = Copy(layout, tmp_path / "new")
    for names, text in (
        (("vault",), "The vault was set back"),
        (("ledger",), "The ledger is an old copy"),
        (("everything",), "The ledger is an old copy"),
    ):
        old.put_back(*names)
        assert text in refused_start(layout, **state)
        new.put_back("everything")
    with started(layout, **state) as (process, ready, _):
        assert ready == b"ready\n"
        names = [credential.service for credential in OperatorClient(layout).credentials().credentials]
        assert names == ["github", "gitlab"]
        stop(process)


def test_without_a_place_outside_it_starts_and_says_what_is_missing(layout: DataLayout) -> None:
    with started(layout) as (process, ready, _):
        assert ready == b"ready\n"
        change(layout, "github")
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=20)
    assert "an old copy of the whole data folder would not be noticed" in text


def test_a_state_folder_that_cannot_be_written_is_said_and_harmless(layout: DataLayout, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with started(layout, XDG_STATE_HOME=str(tmp_path / "state")) as (process, ready, _):
        assert ready == b"ready\n"
        change(layout, "github")
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=20)
    assert "cannot be written" in text
    assert process.returncode == 0


def test_a_proxy_that_is_killed_starts_again(layout: DataLayout, tmp_path: Path) -> None:
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for name in ("one", "two", "three"):
        with started(layout, **state) as (process, ready, _):
            assert ready == b"ready\n"
            change(layout, f"{name}-service")
            process.kill()
            process.wait(20)
    with started(layout, **state) as (_, ready, _):
        assert ready == b"ready\n"


def saved(layout: DataLayout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.proxy.glob("ledger.*") if not path.name.endswith("-shm")}


@pytest.mark.anyio
@pytest.mark.parametrize("evidence", ["file", "gone", "cosigned"])
async def test_a_start_that_a_witness_refuses_leaves_the_ledger_as_it_was(
    layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evidence: str, anyio_backend: str
) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    settings = WitnessSettings(file=tmp_path / "notes")

    async def crash(installation: Kept) -> None:
        # The next start has something to write before all else.
        await installation.recorder.intent(Event.PROXY_HTTP_REQUEST)

    await once(layout, environ, crash)
    outside = outside_of(layout, environ, installation_of(layout.vault))
    assert outside is not None
    other = MemoryLog(numbered(3)).at(3)
    if evidence == "file":
        append(tmp_path / "notes", other)
    elif evidence == "gone":
        await LastSetKeeper(outside, LastSet(str(settings.file), 3)).write()
    else:
        cosigned_file(outside).write_text(other)

    async def start() -> None:
        async with AsyncExitStack() as stack:
            await open_stores(layout, MASTER_KEY, stack, environ, settings)

    before = saved(layout)
    with pytest.raises(LedgerError, match="the witness's file|does not fit what"):
        await start()
    assert saved(layout) == before
    # Without the comparison the start writes on.
    monkeypatch.setattr(main, "demand_agreement", AsyncMock())
    await start()
    assert saved(layout) != before


async def test_while_a_start_reads_the_ledger_it_shows(
    layout: DataLayout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anyio_backend: str
) -> None:
    async def use(installation: Kept) -> None:
        for _ in range(20):
            await installation.recorder.intent(Event.PROXY_HTTP_REQUEST)

    environ = {"XDG_STATE_HOME": str(tmp_path / "state")}
    await once(layout, environ, use)
    monkeypatch.setattr("mycelos.proxy.ledger.database._STEPS", 20)
    signs: list[int] = []
    async with AsyncExitStack() as stack:
        _, recorder = await open_stores(layout, MASTER_KEY, stack, environ, alive=lambda: signs.append(1))
        at_the_start = len(signs)
        assert at_the_start > 5
        await recorder.events(EventQuery(suspicious=True))
        assert len(signs) > at_the_start
