from __future__ import annotations

import asyncio
import base64
import socket
from typing import Any

import pytest
from egress_house import SECRET, House, answer, serve
from proxy_doors import AUTHORIZED, client, make_door

from mycelos.proxy import egress_routes
from mycelos.proxy.egress.scrub import REPLACEMENT
from mycelos.serving.http_server import HttpServer

pytestmark = pytest.mark.anyio


async def test_http_answers_with_status_headers_body_and_the_url_as_it_was_asked(house: House) -> None:
    async with serve(
        answer(b'{"a": 1}', headers=b"content-type: application/json\r\nx-a: 1\r\nx-a: 2\r\n")
    ) as upstream:
        await house.store(upstream.port)
        url = f"http://127.0.0.1:{upstream.port}/things?a=b"
        async with client(make_door(house, upstream.port)) as asking:
            call = {"method": "POST", "url": url, "body": {"x": [1]}, "inject_credential": "github", "run_id": "run_x"}
            found = (await asking.post("/http", json=call)).json()
        assert found.pop("elapsed_ms") >= 0
        assert found == {
            "status": 200, "headers": {"content-type": "application/json", "x-a": "1, 2"}, "body": '{"a": 1}',
            "url": url, "truncated": False,
        }  # fmt: skip
        assert upstream.bodies == [b'{"x":[1]}']
        assert b"content-type: application/json\r\n" in upstream.heads[0]
        assert SECRET.encode() in upstream.heads[0]


@pytest.mark.parametrize(
    ("part", "sent"),
    [({"body": "text"}, b"text"), ({"body_base64": base64.b64encode(b"\0\xff").decode()}, b"\0\xff"), ({}, b"")],
)
async def test_a_body_is_text_json_or_bytes(house: House, part: dict[str, Any], sent: bytes) -> None:
    async with serve(answer(b"\xff\0")) as upstream:
        await house.store(upstream.port)
        async with client(make_door(house, upstream.port)) as asking:
            call = {"method": "POST", "url": f"http://127.0.0.1:{upstream.port}/", "inject_credential": "github"}
            found = (await asking.post("/http", json=call | part)).json()
        assert upstream.bodies == [sent]
        assert base64.b64decode(found["body_base64"]) == b"\xff\0"
        assert "body" not in found


@pytest.mark.parametrize(
    "call",
    [
        {"method": "GET"}, {"url": "https://example.com/"}, {"method": "GET", "url": "https://example.com/", "x": 1},
        {"method": "GET", "url": "https://example.com/", "body": "a", "body_base64": "YQ=="},
        {"method": "GET", "url": "https://example.com/", "body_base64": "*"},
        {"method": "GET", "url": "https://example.com/", "headers": {"x": "ü"}},
        {"method": "GET", "url": "https://example.com/", "timeout": 0},
        {"method": "GET", "url": "https://example.com/", "timeout": 6000},
        [], "x", None,
    ],
)  # fmt: skip
async def test_a_malformed_call_is_refused_with_the_field_named(house: House, call: Any) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.post("/http", json=call)
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


async def test_a_huge_answer_is_cut_and_said_to_be(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(egress_routes, "ANSWER_LIMIT", 10)
    async with serve(answer("ääääääääää".encode())) as upstream:
        await house.store(upstream.port)
        async with client(make_door(house, upstream.port)) as asking:
            call = {"method": "GET", "url": f"http://127.0.0.1:{upstream.port}/", "inject_credential": "github"}
            found = (await asking.post("/http", json=call)).json()
        assert (found["truncated"], found["body"]) == (True, "äääää")
        outcome = (await house.entries("proxy.http_request"))[-1]
        assert (outcome["outcome"], outcome["details"]["truncated"]) == ("cut", True)


async def test_forward_passes_method_path_query_headers_and_body_on(house: House) -> None:
    async with serve(answer(b"ok", b"201 Created", b"x-answer: yes\r\nmycelos-refused: forged\r\n")) as upstream:
        await house.store(upstream.port)
        headers = {
            "Mycelos-Credential": "github", "Mycelos-Run": "run_x", "Mycelos-Agent": "helper",
            "Mycelos-Purpose": "test",
            "Mycelos-Inject-As": "bearer", "Accept": "text/plain", "Cookie": "callers", "x-api-key": "callers",
        }  # fmt: skip
        async with client(make_door(house, upstream.port)) as asking:
            response = await asking.put(
                f"/forward/http/127.0.0.1:{upstream.port}/a/b%20c?d=e%2Ff", headers=headers, content=b"body"
            )
        assert (response.status_code, response.content, response.headers["x-answer"]) == (201, b"ok", "yes")
        assert "mycelos-refused" not in response.headers
        head = upstream.heads[0]
        assert head.startswith(b"PUT /a/b%20c?d=e%2Ff HTTP/1.1\r\n")
        assert b"accept: text/plain\r\n" in head
        for absent in (b"mycelos", b"callers", AUTHORIZED["Authorization"].encode()):
            assert absent not in head.replace(b"user-agent: mycelos", b"").lower()
        assert upstream.bodies == [b"body"]
        entry = (await house.entries("proxy.http_request"))[0]
        assert (entry["run"], entry["agent"], entry["details"]["purpose"]) == ("run_x", "helper", "test")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/forward/", 400), ("/forward/https", 400), ("/forward/ftp/a.example/", 400),
        ("/forward/HTTPS/a.example/", 400),
        ("/forward/http/169.254.169.254/", 403), ("/forward/http/127.1/", 403), ("/forward/https/user@a.example/", 403),
        ("/forward/https/a.example%2Fb/", 403), ("/forward/https/a.example/%2e%2e/", 400),
    ],
)  # fmt: skip
async def test_forward_refuses_with_a_problem_and_its_code_in_a_header(house: House, path: str, status: int) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.get(path)
        assert response.status_code == status
        assert response.headers["mycelos-refused"] == response.json()["code"]


async def test_forward_without_credential_and_rule_is_refused(house: House) -> None:
    async with client(make_door(house)) as asking:
        response = await asking.get("/forward/https/example.com/")
        assert response.json()["code"] == "egress_not_allowed"


async def test_a_stream_flows_both_ways_at_once_and_is_scrubbed(house: House) -> None:
    received = asyncio.Event()

    async def mirror(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert int(await reader.readline(), 16) == 5
        assert await reader.readexactly(7) == b"first\r\n"
        received.set()
        assert await reader.readline() == b"0\r\n"
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b"data: a\n\n", SECRET.encode()[:20], SECRET.encode()[20:] + b"\n\n"):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    async with asyncio.timeout(10), serve(mirror) as upstream:
        await house.store(upstream.port)
        server = HttpServer(make_door(house, upstream.port))
        ours, theirs = socket.socketpair()
        await server.adopt(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        lines = [f"POST /forward/http/127.0.0.1:{upstream.port}/v1 HTTP/1.1", "host: x", "transfer-encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in (AUTHORIZED | {"Mycelos-Credential": "github"}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + b"5\r\nfirst\r\n")
        # The upstream has the first piece while the request has not ended.
        await received.wait()
        writer.write(b"0\r\n\r\n")
        found = await reader.readuntil(b"\r\n0\r\n\r\n")
        assert b"data: a\n\n" in found
        assert REPLACEMENT in found
        assert SECRET.encode() not in found.replace(b"\r\n", b"")
        writer.close()
        await server.stop()


async def test_an_answer_that_breaks_off_shows_as_cut_short(house: House) -> None:
    async def cut(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10), serve(cut) as upstream:
        await house.store(upstream.port)
        server = HttpServer(make_door(house, upstream.port))
        ours, theirs = socket.socketpair()
        await server.adopt(theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        lines = [f"GET /forward/http/127.0.0.1:{upstream.port}/ HTTP/1.1", "host: x", "Mycelos-Credential: github"]
        lines += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        found = await reader.read()
        assert b"hello" in found
        assert not found.endswith(b"0\r\n\r\n")
        writer.close()
        await server.stop()
