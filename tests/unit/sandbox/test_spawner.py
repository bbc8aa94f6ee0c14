import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_machine import as_ordinary_user, on_machine, readable_to_all
from sandbox_run import is_alive

from mycelos.sandbox import process_tree, spawner
from mycelos.wire.frames import FrameDecoder, encode_frame
from mycelos.wire.identifiers import Kind, make_identifier

WAIT = 30.0
NONCE = "0123456789abcdef" * 2
HELLO = {
    "type": "hello", "protocol": 1, "profile": "agent", "instructions": "", "tools": [],
    "messages": [{"role": "user", "text": "hello"}],
    "limits": {"model_requests": 3, "tool_calls": 3, "answer_characters": 1000},
}  # fmt: skip


def new_run() -> str:
    return make_identifier(Kind.RUN, int(time.time() * 1000), secrets.token_bytes(10))


class Door:
    """A spawner in a process of its own, seen from the gateway's side."""

    def __init__(self, data: Path, command: list[str] | None = None, wrap=lambda command: command) -> None:
        self.requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.requests.settimeout(WAIT)
        self.ends: list[socket.socket] = []
        ready, ready_theirs = os.pipe()
        arguments = ["--data-dir", str(data), "--request-fd", "{}", "--ready-fd", "{}"]
        arguments[3], arguments[5] = str(theirs.fileno()), str(ready_theirs)
        base = command or [sys.executable, "-I", "-m", "mycelos.sandbox.spawner"]
        self.process = subprocess.Popen(
            wrap([*base, *arguments]),
            pass_fds=[theirs.fileno(), ready_theirs],
            env={"MYCELOS_TEST_STARTER": "x", "PATH": os.environ["PATH"]},
            stderr=subprocess.PIPE,
        )
        theirs.close()
        os.close(ready_theirs)
        with os.fdopen(ready, "rb") as stream:
            assert select.select([stream], [], [], WAIT)[0]
            assert stream.read(6) == b"ready\n"

    def ask(self, run: str, /, **changes: object) -> tuple[dict[str, object], list[socket.socket]]:
        return self.send(json.dumps({"v": 1, "nonce": NONCE, "profile": "agent", "run": run} | changes).encode())

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> tuple[dict[str, object], list[socket.socket]]:
        socket.send_fds(self.requests, [data], descriptors)
        answer, received, _, _ = socket.recv_fds(self.requests, 4096, 4)
        ends = [socket.socket(fileno=descriptor) for descriptor in received]
        for end in ends:
            end.settimeout(WAIT)
        self.ends += ends
        return json.loads(answer), ends

    def family(self) -> set[int]:
        found, waiting = set(), {self.process.pid}
        parents = process_tree.parents()
        while waiting:
            waiting = {pid for pid, parent in parents.items() if parent in waiting} - found
            found |= waiting
        return found

    def close(self) -> None:
        for end in (self.requests, *self.ends):
            end.close()
        self.process.terminate()
        self.process.communicate(timeout=WAIT)


@pytest.fixture
def data() -> Iterator[Path]:
    # Not below pytest's own folder, which only its user may enter.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "gateway").mkdir()
        yield folder


@pytest.fixture
def door(data: Path) -> Iterator[Door]:
    opened = Door(data)
    yield opened
    opened.close()


def first_frame(channel: socket.socket) -> dict[str, object]:
    decoder = FrameDecoder()
    while True:
        received = channel.recv(65536)
        assert received, "the run ended without a word"
        for payload in decoder.feed(received):
            return json.loads(payload)


def gone(pids: set[int]) -> bool:
    deadline = time.monotonic() + WAIT
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        select.select([], [], [], 0.01)
    return not any(map(is_alive, pids))


def test_a_run_speaks_on_its_channel_and_ends_with_its_lease(door: Door, data: Path) -> None:
    run = new_run()
    answer, (channel, lease) = door.ask(run)
    assert answer == {"v": 1, "nonce": NONCE, "ok": True, "code": "", "detail": "", "next": ""}
    assert (data / "gateway" / "workspaces" / run).is_dir()
    channel.sendall(encode_frame(json.dumps(HELLO).encode()))
    assert first_frame(channel)["type"] == "model.request"
    family = door.family()
    assert family
    lease.close()
    assert channel.recv(1) == b""
    assert gone(family)


def test_a_run_that_ends_by_itself_is_reported_on_its_lease(door: Door) -> None:
    _, (channel, lease) = door.ask(new_run())
    channel.close()
    ended = json.loads(lease.recv(4096))
    assert ended["v"] == 1
    assert ended["exit_code"] != 0
    assert lease.recv(1) == b""
    assert gone(door.family())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"profile": "root"}, "profile"),
        ({"profile": "tools"}, "profile"),
        ({"argv": ["sh"]}, "argv"),
        ({"environment": {}}, "environment"),
        ({"run": "../../etc"}, "run"),
        ({"run": "run_/1h2xcejqtf2nbrexx3vqjhp4"}, "run"),
        ({"run": 7}, "run"),
        ({"v": 2}, "v"),
        ({"nonce": "x"}, "nonce"),
    ],
)
def test_anything_but_a_profile_and_a_run_is_refused_by_its_name(
    door: Door, data: Path, changes: dict[str, object], field: str
) -> None:
    answer, ends = door.ask(new_run(), **changes)
    assert (answer["ok"], answer["code"], ends) == (False, "invalid_request", [])
    assert field in str(answer["detail"])
    assert answer["next"]
    assert not (data / "gateway" / "workspaces").exists()


@pytest.mark.parametrize("noise", [b"", b"\xff\xfe", b"[" * 3000, b"{}", b'{"nonce":', b"x" * 9000, b'{"nonce":7}'])
def test_noise_is_answered_and_survived(door: Door, noise: bytes) -> None:
    assert door.send(noise)[0]["code"] == "invalid_request"
    answer, _ = door.ask(new_run())
    assert answer["ok"]


def test_descriptors_sent_along_are_closed_unread(door: Door) -> None:
    reader, writer = os.pipe()
    request = json.dumps({"v": 1, "nonce": NONCE, "profile": "root", "run": "x"}).encode()
    door.send(request, (writer,))
    os.close(writer)
    assert select.select([reader], [], [], WAIT)[0]
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_a_run_is_not_started_twice_at_a_time(door: Door) -> None:
    run = new_run()
    door.ask(run)
    assert door.ask(run)[0]["code"] == "conflict"


def test_there_is_a_limit_to_the_runs_at_a_time(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; from mycelos.sandbox import spawner, mechanism; spawner.MOST_RUNS = 1; "
        "spawner.self_test = mechanism.start_test; spawner.main()"
    )
    door = Door(data, [sys.executable, "-I", "-c", code])
    _, ends = door.ask(new_run())
    assert door.ask(new_run())[0]["code"] == "rate_limited"
    ends[1].close()
    assert ends[0].recv(1) == b""
    assert door.ask(new_run())[0]["ok"]
    door.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_death_of_the_spawner_leaves_no_run(data: Path, number: signal.Signals) -> None:
    door = Door(data)
    for _ in range(2):
        door.ask(new_run())
    family = door.family()
    assert len(family) >= 2
    door.process.send_signal(number)
    door.process.communicate(timeout=WAIT)
    assert gone(family)
    door.close()


def test_the_end_of_every_peer_ends_the_spawner(data: Path) -> None:
    door = Door(data)
    door.ask(new_run())
    family = door.family()
    door.requests.close()
    door.process.communicate(timeout=WAIT)
    assert door.process.returncode == 0
    assert gone(family)
    door.close()


def on(*without: str):
    return on_machine("mycelos.sandbox.spawner", without=without)


@pytest.mark.parametrize("wrap", [as_ordinary_user, readable_to_all])
def test_without_namespaces_runs_start_and_end_all_the_same(data: Path, wrap) -> None:
    if os.geteuid() == 0 and wrap is as_ordinary_user:
        for path in (data, data / "gateway"):
            os.chown(path, 2000, 2000)
    door = Door(data, on("namespaces"), wrap)
    answer, (channel, lease) = door.ask(new_run())
    assert answer["ok"]
    channel.sendall(encode_frame(json.dumps(HELLO).encode()))
    assert first_frame(channel)["type"] == "model.request"
    family = door.family()
    lease.close()
    assert channel.recv(1) == b""
    assert gone(family)
    door.ask(new_run())
    family = door.family()
    door.process.kill()
    door.process.communicate(timeout=WAIT)
    assert gone(family)
    door.close()


def test_without_landlock_every_request_is_refused_with_the_layer_and_the_fix(data: Path) -> None:
    door = Door(data, on("landlock"))
    answer, ends = door.ask(new_run())
    assert (answer["ok"], answer["code"], ends) == (False, "sandbox_refused", [])
    assert "layer landlock is missing" in str(answer["detail"])
    assert "kernel" in str(answer["next"])
    assert not (data / "gateway" / "workspaces").exists()
    door.close()


def test_a_planted_link_is_refused_and_the_door_stays_open(door: Door, data: Path) -> None:
    run = new_run()
    (data / "gateway" / "workspaces").mkdir()
    (data / "gateway" / "workspaces" / run).symlink_to("/")
    answer, _ = door.ask(run)
    assert (answer["ok"], answer["code"]) == (False, "sandbox_refused")
    assert door.ask(new_run())[0]["ok"]


def test_the_nonce_of_a_wrong_request_is_found_where_there_is_one() -> None:
    assert spawner._nonce_of(json.dumps({"nonce": NONCE, "other": 1}).encode()) == NONCE
    assert spawner._nonce_of(b'{"nonce":"' + b"-" * 32 + b'"}') == "0" * 32
    assert spawner._nonce_of(b"\xff") == "0" * 32
