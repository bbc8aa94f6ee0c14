"""`mycelos serve` as the kernel shows it: who holds what, what stops first, what is left behind."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running_system import RunningSystem, running_system, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY_WORD = b"MYCELOS_MASTER_KEY"


@pytest.fixture(scope="module")
def served(module_data: Path) -> Iterator[RunningSystem]:
    with running_system(module_data, SSH_AUTH_SOCK="/tmp/agent", HTTPS_PROXY="http://127.0.0.1:9") as system:
        yield system


@pytest.fixture
def own_data(short_directory: Path) -> Path:
    """A data folder for one test; the sandbox's users pass through what is above it."""
    short_directory.chmod(0o711)
    path = short_directory / "data"
    path.mkdir(mode=0o711)
    return path


def started_with(pid: int) -> dict[bytes, bytes]:
    """The environment that a process was started with (proc_pid_environ(5))."""
    lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return dict(line.split(b"=", 1) for line in lines if line)


@pytest.mark.parametrize(
    ("name", "bearer"), [("proxy", True), ("operator", False), ("spawner", False), ("gateway", True)]
)
def test_each_zone_was_started_with_what_it_needs_and_nothing_of_the_surroundings(
    served: RunningSystem, name: str, bearer: bool
) -> None:
    pid = served.pid(name)
    assert pid
    environment = started_with(pid)
    assert b"SSH_AUTH_SOCK" not in environment
    assert b"HTTPS_PROXY" not in environment
    assert (b"MYCELOS_PROXY_TOKEN" in environment) is bearer
    if name != "proxy":
        assert not [variable for variable in environment if variable.startswith(KEY_WORD)]


def test_each_zone_has_a_session_of_its_own_without_a_terminal(served: RunningSystem) -> None:
    for child in served.state()["children"]:
        assert os.getsid(child["pid"]) == child["pid"]


def test_no_zone_holds_a_listener_or_channel_of_another(served: RunningSystem) -> None:
    """Listening sockets by inode: the page's with the gateway, the vault page's with the operator page."""
    holders = {
        child["name"]: {os.readlink(link) for link in Path(f"/proc/{child['pid']}/fd").iterdir()}
        for child in served.state()["children"]
    }
    listening = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            listening[int(fields[1].rpartition(":")[2], 16)] = f"socket:[{fields[9]}]"
    page, vault = listening[served.port], listening[served.operator_port]
    assert [name for name, held in holders.items() if page in held] == ["gateway"]
    assert [name for name, held in holders.items() if vault in held] == ["operator"]


def test_both_pages_are_on_loopback_only(served: RunningSystem) -> None:
    lines = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if " 0A " in line]
    bound = {int(port, 16): address for address, _, port in (line.partition(":") for line in lines)}
    assert bound[served.port] == bound[served.operator_port] == "0100007F"


def test_stop_ends_the_pages_first_and_the_proxy_last_and_frees_the_ports(own_data: Path) -> None:
    with running_system(own_data) as system:
        children = [child["pid"] for child in system.state()["children"]]
        assert system.must("stop") == "stopped\n"
        assert system.supervisor
        assert system.supervisor.wait(20) == 0
        lines = [line for line in system.log().splitlines() if line.startswith("{")]
        stopped = [event["child"] for event in map(json.loads, lines) if event["event"] == "child.stopped"]
        assert set(stopped[-4:-2]) == {"gateway", "operator"}
        assert stopped[-2:] == ["spawner", "proxy"]
        for pid in children:
            assert not Path(f"/proc/{pid}").exists()
        for port in (system.port, system.operator_port):
            with socket.create_server(("127.0.0.1", port)):
                pass
        assert system.mycelos("status").returncode == 1


def test_a_start_that_cannot_be_says_why_and_leaves_nothing(own_data: Path) -> None:
    with running_system(own_data) as system:
        system.must("stop")
        assert system.supervisor
        system.supervisor.wait(20)
        system.layout.master_key.chmod(0o644)
        try:
            done = system.mycelos("serve")
        finally:
            system.layout.master_key.chmod(0o600)
        assert done.returncode == 1
        assert "chmod 600" in done.stderr
        assert not system.layout.supervisor_state.exists()


def test_a_broken_gateway_file_stops_the_gateway_alone(own_data: Path) -> None:
    with running_system(own_data) as system:
        system.stop()
        system.layout.gateway_file.write_text("[runs]\nsecond = 60\n")
        checked = system.mycelos("config", "check")
        assert checked.returncode == 2
        assert "unknown key [runs] second; the nearest one that exists is seconds" in checked.stderr
        system.supervisor = system.launch()
        wait_until(lambda: "child.given_up" in system.log(), "the gateway is given up")
        wait_until(lambda: system.mycelos("credential", "list").returncode == 0, "the proxy answers")
        wait_until(lambda: system.mycelos("open", "--operator", "--print").returncode == 0, "the vault page's link")
        assert f"{system.layout.gateway_file}: unknown key [runs] second" in system.log()
        status = system.mycelos("status")
        assert status.returncode == 1
        assert "down" in status.stdout
        assert "serve.log" in system.mycelos("agent", "list").stderr
        # Mended, it serves again.
        system.stop()
        system.layout.gateway_file.write_text("[runs]\nseconds = 60\n")
        system.start()


def test_a_store_that_a_hijacked_gateway_spoiled_leaves_the_vault_page(own_data: Path) -> None:
    with running_system(own_data) as system:
        system.stop()
        system.layout.gateway_database.write_bytes(b"no database" * 1000)
        system.supervisor = system.launch()
        wait_until(lambda: "child.given_up" in system.log(), "the gateway is given up")
        wait_until(lambda: system.mycelos("open", "--operator", "--print").returncode == 0, "the vault page's link")
