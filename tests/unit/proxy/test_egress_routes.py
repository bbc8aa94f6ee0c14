from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from egress_house import SECRET, House, answer, serve
from proxy_doors import AUTHORIZED, begin_forward, client, make_door

from mycelos.proxy import egress_routes
from mycelos.proxy.egress.scrub import REPLACEMENT
from mycelos.proxy.egress.trail import Progress
from mycelos.proxy.egress_routes import EgressRoutes
from mycelos.proxy.main import SWITCH_SECONDS
from mycelos.serving.http_server import HttpServer
from mycelos.wire.binding import Method
from mycelos.wire.problems import ProblemCode, Refusal

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


async def test_a_call_with_one_name_twice_is_refused_and_on_record(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(answer(b"ok")) as upstream:
        await house.store(upstream.port)
        here = f'"url":"http://127.0.0.1:{upstream.port}/'
        credential = '"method":"POST","inject_credential":"github"'
        twice = [
            f'{{{credential},{here}a",{here}b"}}',
            f'{{{credential},{here}a","\\u0075rl":"http://127.0.0.1:{upstream.port}/b"}}',
            f'{{{credential},{here}a","headers":{{"A":"1","A":"2"}}}}',
            f'{{{credential},{here}a","body":[{{"amount":1,"amount":1000}}]}}',
            f'{{{credential},{here}a","body":"{"x" * egress_routes._AT_ONCE}","body":""}}',
        ]
        clock = iter(range(0, 100, 2))
        async with client(make_door(house, upstream.port, monotonic=lambda: float(next(clock)))) as asking:
            for body in twice:
                refused = await asking.post("/http", content=body)
                assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
                assert "stands there twice, in request" in refused.json()["detail"]
            assert upstream.heads == []
            found = await house.entries("proxy.binding_violation")
            assert [entry["details"]["reasons"] for entry in found] == [["body"]] * len(twice)
            # Without the wall the last of the two goes out, whatever was read by somebody who takes the first.
            monkeypatch.setattr("mycelos.wire.decoding.demand_unique_names", lambda _data: None)
            assert (await asking.post("/http", content=twice[0])).status_code == 200
            assert (await asking.post("/http", content=twice[3])).status_code == 200
        assert upstream.heads[0].startswith(b"POST /b ")
        assert upstream.bodies[1] == b'[{"amount":1000}]'


async def test_a_forwarded_call_with_one_name_twice_is_refused_and_on_record(house: House) -> None:
    async with client(make_door(house)) as asking:
        headers = [("Mycelos-Credential", "github"), ("Mycelos-Credential", "gitlab")]
        refused = await asking.get("/forward/https/api.github.com/", headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert [entry["details"]["reasons"] for entry in await house.entries("proxy.binding_violation")] == [["head"]]


async def test_while_a_large_call_is_looked_through_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = EgressRoutes(None)
    interval = sys.getswitchinterval()
    # As in the proxy's process.
    sys.setswitchinterval(SWITCH_SECONDS)
    body = b'{"method":"POST","url":"http://a.example/","body":[' + b'{"a":1,"b":2},' * 100_000 + b"0]}"

    async def rounds() -> int:
        """How often the event loop turned while the call was read."""
        reading = asyncio.create_task(routes._read_call(body))
        count = 0
        while not reading.done():
            await asyncio.sleep(0)
            count += 1
        assert (await reading).method == "POST"
        return count

    try:
        assert await rounds() > 20
        monkeypatch.setattr(egress_routes, "_AT_ONCE", len(body))
        assert await rounds() < 5
    finally:
        sys.setswitchinterval(interval)


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
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello\n\n")
        await writer.drain()
        writer.close()

    async with asyncio.timeout(10), serve(cut) as upstream:
        await house.store(upstream.port)
        server = HttpServer(make_door(house, upstream.port))
        reader, writer = await begin_forward(server, upstream.port)
        found = await reader.read()
        assert b"hello\n\n" in found
        assert not found.endswith(b"0\r\n\r\n")
        writer.close()
        await server.stop()


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
ENDINGS = {
    "a known length": ("GET", answer(b"hello" * 10_000)),
    "chunks": ("GET", CHUNKED),
    "no body": ("GET", answer(b"")),
    "no content": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a head alone": ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
}


async def whole_answer(server: HttpServer, port: int, method: str) -> tuple[int, bytes] | None:
    """What an HTTP client makes of an answer by a rule, or None where it was cut short."""
    ours, theirs = socket.socketpair()
    await server.adopt(theirs)
    lines = [f"{method} /forward/http/127.0.0.1:{port}/ HTTP/1.1", "host: x"]
    lines += [f"{name}: {value}" for name, value in AUTHORIZED.items()]
    ours.sendall("\r\n".join([*lines, "", ""]).encode())

    def read() -> tuple[int, bytes] | None:
        with ours:
            response = http.client.HTTPResponse(ours, method=method)
            try:
                response.begin()
                return response.status, response.read()
            except http.client.HTTPException:
                return None

    return await asyncio.to_thread(read)


def full(*_arguments: Any, **_keywords: Any) -> asyncio.Future[Any]:
    """A ledger that takes nothing more."""
    future = asyncio.get_running_loop().create_future()
    future.set_exception(Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The disk is full.", "Make room."))
    future.add_done_callback(asyncio.Future.exception)
    return future


@pytest.mark.parametrize(("method", "raw"), ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("case", ["the ledger works", "the outcome cannot be written", "without the wall"])
async def test_an_answer_does_not_end_whose_outcome_cannot_be_written(
    house: House, monkeypatch: pytest.MonkeyPatch, method: str, raw: bytes, case: str
) -> None:
    async with asyncio.timeout(20), serve(raw) as upstream:
        await house.allow(upstream.port, Method(method))
        server = HttpServer(make_door(house, upstream.port))
        if case != "the ledger works":
            monkeypatch.setattr(house.recorder, "outcome", full)
        if case == "without the wall":
            monkeypatch.setattr(Progress, "durable", lambda _progress: asyncio.sleep(0))
        found = await whole_answer(server, upstream.port, method)
        # Where nothing of it went out yet, the refusal itself is the answer.
        assert (found is None or found[0] == 503) is (case == "the outcome cannot be written")
        assert upstream.connections == 1
        await server.stop()


async def test_an_answer_as_json_is_a_refusal_then(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as upstream:
        await house.allow(upstream.port)
        monkeypatch.setattr(house.recorder, "outcome", full)
        async with client(make_door(house, upstream.port)) as asking:
            call = {"method": "GET", "url": f"http://127.0.0.1:{upstream.port}/"}
            response = await asking.post("/http", json=call)
        assert (response.status_code, response.json()["code"]) == (503, "audit_unavailable")


async def test_the_pieces_of_an_answer_tell_no_guess_of_a_secret_from_another(house: House) -> None:
    """The attack: text of the caller's comes back from a bound host, and the caller looks at the chunks."""

    async def echo(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(answer(b"." * 30 + body))

    async with asyncio.timeout(20), serve(echo) as upstream:
        await house.store(upstream.port)
        server = HttpServer(make_door(house, upstream.port))
        bodies = []
        for guess in (SECRET[:12], SECRET[:11] + "?", "nothing-like", SECRET[:4] + "nothing-"):
            length = f"content-length: {len(guess)}"
            reader, writer = await begin_forward(server, upstream.port, "POST", length, "connection: close", body=guess)
            found = await reader.read()
            assert guess.encode() in found
            bodies.append(found.partition(b"\r\n\r\n")[2].replace(guess.encode(), b"GUESS"))
            writer.close()
        assert len(set(bodies)) == 1
        await server.stop()


async def test_a_call_may_be_as_large_as_the_limit_says_and_not_larger(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        call = {"method": "POST", "url": f"http://127.0.0.1:{upstream.port}/", "inject_credential": "github"}
        content = json.dumps(call).encode()
        async with client(make_door(house, upstream.port)) as asking:
            for limit, status in ((len(content), 200), (len(content) - 1, 413)):
                monkeypatch.setattr(egress_routes, "CALL_LIMIT", limit)
                response = await asking.post("/http", content=content)
                assert response.status_code == status
            assert response.json()["code"] == "too_large"
            assert f"{limit} bytes" in response.json()["detail"]
        assert len(upstream.heads) == 1


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_streamed_body_may_be_as_large_as_the_limit_says_and_not_larger(
    house: House, monkeypatch: pytest.MonkeyPatch, has_length: bool
) -> None:
    async def pieces(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    monkeypatch.setattr(egress_routes, "STREAM_LIMIT", 10)
    async with serve() as upstream:
        await house.store(upstream.port)
        target = f"/forward/http/127.0.0.1:{upstream.port}/"
        headers = {"Mycelos-Credential": "github"}
        async with client(make_door(house, upstream.port)) as asking:
            for size, status in ((10, 200), (11, 413)):
                content = b"x" * size if has_length else pieces(size)
                response = await asking.post(target, content=content, headers=headers)
                assert response.status_code == status
        assert response.json()["code"] == "too_large"
        assert "10 bytes" in response.json()["detail"]
        assert upstream.bodies == [b"x" * 10]
        # What announces its length is refused before a byte of it leaves.
        assert len(upstream.heads) == (1 if has_length else 2)


@pytest.mark.parametrize("when", ["before the head", "in the body"])
@pytest.mark.parametrize("form", ["http", "forward"])
async def test_a_caller_that_goes_away_releases_the_upstream(house: House, form: str, when: str) -> None:
    """The upstream never ends its answer: without a look at the caller the connection would stay."""
    came, released = asyncio.Event(), asyncio.Event()

    async def endless(_head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if when == "in the body":
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        came.set()
        await reader.read()
        released.set()

    async with asyncio.timeout(20), serve(endless) as upstream:
        await house.store(upstream.port)
        server = HttpServer(make_door(house, upstream.port))
        ours, theirs = socket.socketpair()
        await server.adopt(theirs)
        _, writer = await asyncio.open_connection(sock=ours)
        target = f"127.0.0.1:{upstream.port}/v1"
        lines = ["host: x", *(f"{name}: {value}" for name, value in AUTHORIZED.items())]
        if form == "forward":
            body = "abc"
            first = f"POST /forward/http/{target} HTTP/1.1"
            lines.append("mycelos-credential: github")
        else:
            body = json.dumps({"method": "GET", "url": f"http://{target}", "inject_credential": "github"})
            first = "POST /http HTTP/1.1"
        head = "\r\n".join([first, *lines, f"content-length: {len(body)}", "", body])
        writer.write(head.encode())
        await came.wait()
        writer.close()
        await released.wait()
        await server.stop()
    outcome = (await house.entries("proxy.http_request"))[-1]
    assert (outcome["outcome"], outcome["reason"]) == ("cut", "abandoned")


async def test_http_says_what_a_person_can_decide_and_takes_the_approval(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        async with client(make_door(house, upstream.port)) as asking:
            call = {"method": "POST", "url": f"http://127.0.0.1:{upstream.port}/", "inject_credential": "github"}
            call |= {"body": {"a": 1}, "run_id": "run_x"}
            refused = await asking.post("/http", json=call)
            assert (refused.status_code, refused.json()["code"]) == (403, "approval_required")
            pending = refused.json()["approval"]
            (held,) = house.approvals.waiting()
            assert pending == {"id": held.id, "expires_at": held.expires_at}
            house.approvals.decide(held.id, held.digest, is_approved=True)
            assert (await asking.post("/http", json=call | {"approval": held.id})).json()["status"] == 200
            again = await asking.post("/http", json=call | {"approval": held.id})
            assert (again.status_code, "approval" in again.json()) == (403, False)
        assert upstream.bodies == [b'{"a":1}']


@pytest.mark.parametrize("is_chunked", [True, False])
async def test_forward_holds_a_body_that_a_person_decides_whole_and_sends_it_once(
    house: House, is_chunked: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first, "
        yield b"second"

    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        url = f"/forward/http/127.0.0.1:{upstream.port}/v1?a=b"
        headers = {"Mycelos-Credential": "github", "Mycelos-Run": "run_x", "Mycelos-Agent": "helper"}

        async with client(make_door(house, upstream.port)) as asking:

            async def send(**more: str) -> Any:
                content = pieces() if is_chunked else b"first, second"
                return await asking.post(url, headers=headers | more, content=content)

            refused = await send()
            assert (refused.status_code, refused.headers["mycelos-refused"]) == (403, "approval_required")
            (held,) = house.approvals.waiting()
            assert held.asked is not None
            assert (held.asked.body, held.asked.run, held.asked.agent) == (b"first, second", "run_x", "helper")
            assert refused.json()["approval"]["id"] == held.id
            house.approvals.decide(held.id, held.digest, is_approved=True)
            named = {"Mycelos-Approval": held.id}
            changed = await asking.post(url, headers=headers | named, content=b"first, third.")
            assert changed.json()["code"] == "approval_required"
            assert (await send(**named)).status_code == 200
            assert (await send(**named)).status_code == 403
        assert upstream.bodies == [b"first, second"]
        assert b"mycelos-approval" not in upstream.heads[0].lower()


async def test_forward_refuses_a_body_that_is_too_large_for_a_person_to_wait_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress_routes, "WAITING_BODY_LIMIT", 8)
    async with serve() as upstream:
        await house.store(upstream.port, confirm=True)
        await house.store(upstream.port, "plain", f"{SECRET}2")
        url = f"/forward/http/127.0.0.1:{upstream.port}/"
        async with client(make_door(house, upstream.port)) as asking:
            refused = await asking.post(url, headers={"Mycelos-Credential": "github"}, content=b"x" * 9)
            assert refused.json()["code"] == "too_large"
            assert house.approvals.waiting() == ()
            # Whoever is not asked about streams as ever.
            assert (
                await asking.post(url, headers={"Mycelos-Credential": "plain"}, content=b"x" * 9)
            ).status_code == 200


async def test_two_approvals_in_one_request_are_refused(house: House) -> None:
    async with client(make_door(house)) as asking:
        headers = [("Mycelos-Credential", "github"), ("Mycelos-Approval", "a"), ("Mycelos-Approval", "b")]
        response = await asking.get("/forward/https/a.example/", headers=headers)
        assert response.json()["code"] == "invalid_request"
