from __future__ import annotations

import asyncio
import ipaddress
import ssl
from pathlib import Path

import pytest
import trustme
from egress_house import serve, server_context

from mycelos.configuration.environment import ConfigurationError
from mycelos.proxy.egress import dial as dial_module
from mycelos.proxy.egress.connection import UpstreamConnection
from mycelos.proxy.egress.dial import Trust, dial, make_trust
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio
LOOPBACK = (ipaddress.ip_address("127.0.0.1"),)


async def refused(port: int, scheme: str, trust: Trust, host: str = "good.example") -> ProblemCode:
    with pytest.raises(Refusal) as caught:
        await dial(parse_url(f"{scheme}://{host}:{port}/"), LOOPBACK, trust, 5)
    return caught.value.problem.code


async def test_the_address_is_dialled_while_name_and_certificate_stay_the_urls(
    authority: trustme.CA, trust: Trust
) -> None:
    names: list[str | None] = []
    context = server_context(authority, "good.example")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with asyncio.timeout(10), serve(tls=context) as upstream:
        connection = await dial(parse_url(f"https://good.example:{upstream.port}/"), LOOPBACK, trust)
        assert connection.peer == "127.0.0.1"
        assert names == ["good.example"]
        connection.close()


async def test_a_certificate_of_another_name_or_an_unknown_authority_is_refused(
    authority: trustme.CA, trust: Trust
) -> None:
    async with asyncio.timeout(10), serve(tls=server_context(authority, "other.example")) as upstream:
        assert await refused(upstream.port, "https", trust) is ProblemCode.UPSTREAM_TLS
    async with asyncio.timeout(10), serve(tls=server_context(trustme.CA(), "good.example")) as upstream:
        assert await refused(upstream.port, "https", trust) is ProblemCode.UPSTREAM_TLS
    async with asyncio.timeout(10), serve(tls=server_context(authority, "good.example")) as upstream:
        assert await refused(upstream.port, "https", make_trust(None)) is ProblemCode.UPSTREAM_TLS


async def test_tls_below_1_2_is_refused(trust: Trust) -> None:
    assert trust.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert trust.context.verify_mode is ssl.CERT_REQUIRED
    assert trust.context.check_hostname


async def test_session_keys_are_never_written_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert make_trust(None).context.keylog_filename is None
    assert not (tmp_path / "keys").exists()


async def test_a_closed_port_is_unreachable_and_a_plain_server_is_no_tls_server(
    trust: Trust, free_port: object
) -> None:
    assert await refused(free_port(), "http", trust) is ProblemCode.UPSTREAM_UNREACHABLE  # type: ignore[operator]

    async def plain(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with asyncio.timeout(10):
        server = await asyncio.start_server(
            lambda _r, w: (w.write(b"HTTP/1.1 400\r\n\r\n"), w.close())[0], "127.0.0.1", 0
        )
        port = server.sockets[0].getsockname()[1]
        code = await refused(port, "https", trust)
        assert code in {ProblemCode.UPSTREAM_TLS, ProblemCode.UPSTREAM_UNREACHABLE}
        server.close()


async def test_a_host_that_accepts_nothing_is_a_timeout(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def hang(*_arguments: object, **_keywords: object) -> None:
        await never.wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", hang, raising=False)
    with pytest.raises(Refusal) as caught:
        await dial(parse_url("http://good.example/"), LOOPBACK, trust, 0.01)
    assert caught.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT


async def test_the_next_address_is_tried_when_one_does_not_answer(trust: Trust) -> None:
    async with asyncio.timeout(10), serve(host="127.0.0.1") as upstream:
        addresses = (ipaddress.ip_address("127.0.0.2"), *LOOPBACK)
        connection = await dial(parse_url(f"http://good.example:{upstream.port}/"), addresses, trust)
        assert connection.peer == "127.0.0.1"
        connection.close()


async def test_an_address_that_is_silent_leaves_the_next_one_its_time(trust: Trust, authority: trustme.CA) -> None:
    """The first one accepts and says nothing: a TLS handshake that never ends. It is closed when its share is over."""
    closed = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        closed.set()
        writer.transport.abort()

    first = await asyncio.start_server(silent, "127.0.0.2", 0)
    port = first.sockets[0].getsockname()[1]
    async with asyncio.timeout(20), serve(tls=server_context(authority, "good.example"), port=port) as upstream:
        addresses = (ipaddress.ip_address("127.0.0.2"), *LOOPBACK)
        connection = await dial(parse_url(f"https://good.example:{upstream.port}/"), addresses, trust, 2)
        assert connection.peer == "127.0.0.1"
        connection.close()
        await closed.wait()
        first.close()


async def test_when_no_address_answers_all_of_them_together_have_one_deadline(trust: Trust) -> None:
    reached: list[asyncio.StreamWriter] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(writer)
        await reader.read()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with asyncio.timeout(20):
        with pytest.raises(Refusal) as caught:
            await dial(parse_url(f"https://good.example:{port}/"), LOOPBACK * 40, trust, 0.2)
        assert caught.value.problem.code is ProblemCode.UPSTREAM_TIMEOUT
        assert len(reached) < 6
        server.close()
        for writer in reached:
            writer.transport.abort()
        await asyncio.sleep(0)


async def test_a_connection_that_ends_elsewhere_is_refused(trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UpstreamConnection, "peer", property(lambda _self: "203.0.113.9"))
    async with asyncio.timeout(10), serve() as upstream:
        assert await refused(upstream.port, "http", trust) is ProblemCode.SSRF_BLOCKED


def test_only_one_function_opens_connections() -> None:
    source = Path(dial_module.__file__).parents[2] / "proxy"
    users = {path.name for path in source.rglob("*.py") if "create_connection(" in path.read_text()}
    assert users == {"dial.py"}


def test_extra_roots_that_hold_none_are_refused_with_the_variable(tmp_path):
    (tmp_path / "roots").write_text("none")
    for name, why in (("roots", "no certificates in PEM"), ("missing", "cannot be read")):
        with pytest.raises(ConfigurationError, match=f"MYCELOS_CA_FILE: .*{why}"):
            make_trust(tmp_path / name)
