from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.proxy.listening import bind, is_in_container, tcp_port


def test_a_unix_socket_is_for_its_owner_and_replaces_a_dead_one(short_directory: Path) -> None:
    path = short_directory / "proxy.sock"
    bind(f"unix:{path}").close()
    with bind(f"unix:{path}") as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
        assert listener.family == socket.AF_UNIX


def test_a_plain_file_in_its_place_is_not_removed(short_directory: Path) -> None:
    path = short_directory / "precious"
    path.write_text("data")
    with pytest.raises(ConfigurationError):
        bind(f"unix:{path}")
    assert path.read_text() == "data"


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_and_port_are_listened_on(host: str) -> None:
    with bind(f"{host}:0") as listener:
        assert listener.getsockname()[1] > 0


@pytest.mark.parametrize(
    "text", ["", "9110", "localhost:9110", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:70000", "unix:rel"]
)
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="MYCELOS_PROXY_LISTEN"):
        bind(text)


def test_a_port_in_use_is_refused_with_the_fix() -> None:
    with bind("127.0.0.1:0") as listener, pytest.raises(ConfigurationError, match="check that nothing else does"):
        bind(f"127.0.0.1:{listener.getsockname()[1]}")


def test_the_tcp_port_is_known_for_the_guard() -> None:
    assert tcp_port("0.0.0.0:9110") == 9110
    assert tcp_port("unix:/x") is None
    assert tcp_port(None) is None


def test_a_container_is_a_marker_and_a_listener_beyond_loopback(tmp_path: Path) -> None:
    marker = tmp_path / ".dockerenv"
    assert not is_in_container("0.0.0.0:9110", [marker])
    marker.touch()
    assert is_in_container("0.0.0.0:9110", [marker])
    for text in (None, "unix:/run/proxy.sock", "127.0.0.1:9110", "[::1]:9110"):
        assert not is_in_container(text, [marker])
