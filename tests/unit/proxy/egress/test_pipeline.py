from __future__ import annotations

import asyncio
import gzip
import ipaddress
from typing import Any

import pytest
from egress_house import SECRET, House, ListedResolver, answer, call_for, fetch, serve

from mycelos.ledger.query import EventQuery
from mycelos.proxy.egress import decide as decide_module
from mycelos.proxy.egress import pipeline as pipeline_module
from mycelos.proxy.egress.http_client import Deadlines
from mycelos.proxy.egress.scrub import REPLACEMENT
from mycelos.proxy.egress.url import parse_url
from mycelos.wire.binding import Basic, Header, Method, Quota, UrlPath
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_forms import secret_forms

pytestmark = pytest.mark.anyio


async def refused(house: House, call: Any, *ports: int, **parts: Any) -> ProblemCode:
    with pytest.raises(Refusal) as caught:
        await fetch(house.pipeline(*ports, **parts), call)
    return caught.value.problem.code


async def test_a_bound_credential_is_injected_and_both_entries_stand_in_order(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/repos/a?q=1", service="github", run="run_x", agent="helper")
        status, _, body = await fetch(house.pipeline(upstream.port), call)
        assert (status, body) == (200, b"hello")
        assert f"authorization: Bearer {SECRET}\r\n".encode() in upstream.heads[0]
        intent, outcome = await house.entries("proxy.http_request")
        assert (intent["phase"], outcome["phase"], outcome["intent_seq"]) == ("intent", "outcome", intent["seq"])
        assert intent["details"] == {
            "door": "http", "method": "GET", "service": "github", "scheme": "http", "host": "127.0.0.1",
            "port": upstream.port, "path": "/repos/a", "stream": False, "inject_form": "bearer",
            "credential_id": house.vault.list()[0].id, "credential_version": 1,
        }  # fmt: skip
        assert (outcome["outcome"], outcome["details"]["status"], outcome["run"]) == ("ok", 200, "run_x")
        assert house.vault.list()[0].last_used_at is not None


@pytest.mark.parametrize(
    ("form", "line"),
    [(Basic("user"), b"authorization: Basic "), (Header("X-Key"), b"x-key: " + SECRET.encode())],
)
async def test_each_form_reaches_the_upstream(house: House, form: Any, line: bytes) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, inject=form)
        url = f"http://127.0.0.1:{upstream.port}/"
        headers = [(b"Authorization", b"Bearer callers"), (b"X-Key", b"callers"), (b"Cookie", b"callers")]
        await fetch(house.pipeline(upstream.port), call_for(url, service="github", headers=headers))
        assert line in upstream.heads[0]
        assert b"callers" not in upstream.heads[0]


async def test_a_url_path_credential_stands_in_the_path_and_nowhere_on_record(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, inject=UrlPath(), path=("bot{credential}",), secret="123:AAbbccdd")
        call = call_for(f"http://127.0.0.1:{upstream.port}/bot{{credential}}/getMe", service="github")
        async with house.pipeline(upstream.port).open(call) as exchange:
            assert str(exchange.url).endswith("/bot{credential}/getMe")
        assert upstream.heads[0].startswith(b"GET /bot123:AAbbccdd/getMe HTTP/1.1\r\n")
        assert "AAbbccdd" not in str(await house.entries())


@pytest.mark.parametrize(
    ("path", "method", "changes"),
    [
        ("/other", "GET", {}),
        ("/repos/x", "DELETE", {}),
        ("/repos/../other", "GET", {}),
        ("/repos?q=1", "GET", {}),
        ("/repos", "GET", {"inject_as": "header:X-Other"}),
        ("/repos", "GET", {"service": "unknown"}),
    ],
)
async def test_outside_its_binding_a_credential_is_refused_recorded_and_nothing_is_dialled(
    house: House, path: str, method: str, changes: dict[str, Any]
) -> None:
    async with serve() as upstream:
        await house.store(upstream.port, path=("repos",), methods=(Method.GET,), query="none")
        call = call_for(f"http://127.0.0.1:{upstream.port}{path}", method, **({"service": "github"} | changes))
        code = await refused(house, call, upstream.port)
        assert code in {ProblemCode.BINDING_VIOLATION, ProblemCode.CREDENTIAL_UNKNOWN}
        assert upstream.connections == 0
        (entry,) = await house.entries("proxy.binding_violation")
        assert entry["details"]["code"] == code.value


async def test_a_credential_never_goes_to_another_port_or_host(house: House) -> None:
    async with serve() as bound, serve() as other:
        await house.store(bound.port)
        call = call_for(f"http://127.0.0.1:{other.port}/", service="github", headers=[(b"Host", b"127.0.0.1")])
        assert await refused(house, call, bound.port, other.port) is ProblemCode.BINDING_VIOLATION
        assert other.connections == 0


async def test_without_the_binding_check_the_theft_succeeds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as bound, serve() as collector:
        await house.store(bound.port)
        monkeypatch.setattr(decide_module.binding_check, "violations", lambda _binding, _request: ())
        await fetch(house.pipeline(collector.port), call_for(f"http://127.0.0.1:{collector.port}/", service="github"))
        assert SECRET.encode() in collector.heads[0]


async def test_without_a_credential_only_an_exact_rule_lets_a_request_out(house: House) -> None:
    async with serve() as upstream:
        url = f"http://127.0.0.1:{upstream.port}/"
        assert await refused(house, call_for(url), upstream.port) is ProblemCode.EGRESS_NOT_ALLOWED
        await house.rules.set_web(enabled=True)
        assert await refused(house, call_for(url), upstream.port) is ProblemCode.EGRESS_NOT_ALLOWED
        await house.allow(upstream.port)
        assert (await fetch(house.pipeline(upstream.port), call_for(url)))[0] == 200
        assert await refused(house, call_for(url, "POST"), upstream.port) is ProblemCode.EGRESS_NOT_ALLOWED
        assert upstream.connections == 1


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://169.254.169.254/latest/meta-data/", ProblemCode.SSRF_BLOCKED),
        ("http://127.0.0.1/", ProblemCode.SSRF_BLOCKED),
        ("http://0x7f.1/", ProblemCode.SSRF_BLOCKED),
        ("http://localhost/", ProblemCode.SSRF_BLOCKED),
        ("gopher://127.0.0.1/", ProblemCode.SSRF_BLOCKED),
        ("http://user@example.com/", ProblemCode.SSRF_BLOCKED),
        ("http://example.com/%2e%2e/", ProblemCode.INVALID_REQUEST),
    ],
)
async def test_a_hostile_url_is_refused_and_on_record(house: House, url: str, code: ProblemCode) -> None:
    assert await refused(house, call_for(url)) is code
    assert len(await house.entries("proxy.ssrf_blocked")) == (code is ProblemCode.SSRF_BLOCKED)
    assert house.resolver.asked == []


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "GET /x HTTP/1.1\r\nx:", ""])
async def test_a_method_that_no_binding_can_name_is_refused(house: House, method: str) -> None:
    assert await refused(house, call_for("https://example.com/", method)) is ProblemCode.METHOD_NOT_ALLOWED


async def test_a_name_that_answers_public_first_and_loopback_second_is_never_dialled_at_the_second(
    house: House,
) -> None:
    async with serve() as upstream:
        answers = {"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]}
        await house.rules.add(Method.GET, "http", "rebind.example", upstream.port)
        dialled: list[str] = []

        async def dial(_url: Any, addresses: Any) -> Any:
            dialled.extend(map(str, addresses))
            raise Refusal(ProblemCode.UPSTREAM_UNREACHABLE, "A test dials nothing public.", "Nothing.")

        house.client.dial = dial  # type: ignore[method-assign]
        call = call_for(f"http://rebind.example:{upstream.port}/")
        resolver = ListedResolver(answers)
        assert await refused(house, call, resolver=resolver) is ProblemCode.UPSTREAM_UNREACHABLE
        assert await refused(house, call, resolver=resolver) is ProblemCode.SSRF_BLOCKED
        assert dialled == ["93.184.216.34"]
        assert upstream.connections == 0
        assert resolver.asked == ["rebind.example"] * 2

        # The control: who checks one answer and lets the system resolve again for the connection arrives inside.
        naive = ListedResolver({"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
        guard = house.make_guard()
        checked = await naive.resolve("rebind.example")
        guard.judge_addresses(parse_url(call.url), checked)
        (address,) = await naive.resolve("rebind.example")
        _, writer = await asyncio.open_connection(str(address), upstream.port)
        writer.close()
        assert address == ipaddress.ip_address("127.0.0.1")


async def test_the_address_that_was_checked_is_the_address_that_is_dialled(house: House) -> None:
    dialled: list[Any] = []

    async def connect(_url: Any, addresses: Any, _method: str) -> Any:
        dialled.extend(addresses)
        raise Refusal(ProblemCode.UPSTREAM_UNREACHABLE, "A test dials nothing public.", "Nothing.")

    house.client.connect = connect  # type: ignore[method-assign]
    await house.rules.add(Method.GET, "https", "example.com", 443)
    resolver = ListedResolver({"example.com": [["93.184.216.34", "2606:2800:220:1::1"]]})
    await refused(house, call_for("https://example.com/"), resolver=resolver)
    assert list(map(str, dialled)) == ["93.184.216.34", "2606:2800:220:1::1"]


async def test_an_answer_that_echoes_the_secret_is_scrubbed_in_head_and_body_and_recorded(house: House) -> None:
    echo = b" ".join(secret_forms(SECRET.encode()))
    reply = answer(echo, headers=b"x-echo: " + SECRET.encode() + b"\r\n")
    async with serve(reply) as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        _, headers, body = await fetch(house.pipeline(upstream.port), call)
        assert not any(form in body for form in secret_forms(SECRET.encode()))
        assert headers[b"x-echo"] == REPLACEMENT
        assert b"content-length" not in headers
        (entry,) = await house.entries("proxy.response_scrubbed")
        assert entry["details"]["count"] > 5
        assert SECRET not in str(await house.entries())


async def test_every_credential_bound_to_the_host_is_scrubbed_also_when_none_is_used(house: House) -> None:
    async with serve(answer(b"leak: " + SECRET.encode())) as upstream:
        await house.store(upstream.port)
        await house.allow(upstream.port)
        _, _, body = await fetch(house.pipeline(upstream.port), call_for(f"http://127.0.0.1:{upstream.port}/"))
        assert body == b"leak: " + REPLACEMENT


async def test_a_compressed_echo_is_scrubbed_too(house: House) -> None:
    packed = gzip.compress(b"leak: " + SECRET.encode())
    async with serve(answer(packed, headers=b"content-encoding: gzip\r\n")) as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        _, headers, body = await fetch(house.pipeline(upstream.port), call)
        assert body == b"leak: " + REPLACEMENT
        assert b"content-encoding" not in headers
        assert b"accept-encoding: identity\r\n" in upstream.heads[0]


async def test_events_flow_at_once_while_the_scrubber_is_at_work(house: House) -> None:
    go_on = asyncio.Event()

    async def stream(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for piece in (b"data: one\n\n", b"data: two\n\n"):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await go_on.wait()
        writer.write(b"0\r\n\r\n")

    async with asyncio.timeout(10), serve(stream) as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github", door="forward")
        async with house.pipeline(upstream.port).open(call) as exchange:
            pieces = exchange.body()
            # The upstream waits with the second event until the first has come out at this end.
            assert await anext(pieces) == b"data: one\n\n"
            go_on.set()
            assert await anext(pieces) == b"data: two\n\n"
            assert [piece async for piece in pieces] == []


@pytest.mark.parametrize(
    ("changes", "url"),
    [
        ({"headers": [(b"x-token", b"{credential}")]}, "/"),
        ({"body": b'{"t": "{credential}"}', "length": 21}, "/"),
        ({}, "/?t={credential}"),
        ({}, "/?t=%7Bcredential%7D"),
        ({}, "/{credential}/x"),
        ({"service": None}, "/{credential}/x"),
    ],
)
async def test_a_placeholder_that_would_go_out_raw_is_refused(house: House, changes: dict[str, Any], url: str) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        await house.allow(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}{url}", **({"service": "github"} | changes))
        code = await refused(house, call, upstream.port)
        assert code in {ProblemCode.INJECTION_REFUSED, ProblemCode.BINDING_VIOLATION, ProblemCode.SSRF_BLOCKED} | {
            ProblemCode.INVALID_REQUEST
        }
        assert upstream.connections == 0


async def test_a_confirm_binding_and_a_used_up_quota_are_refused(house: House) -> None:
    async with serve() as upstream:
        url = f"http://127.0.0.1:{upstream.port}/"
        await house.store(upstream.port, "asks", confirm=True)
        await house.store(upstream.port, "little", quota=Quota(1, 5))
        assert await refused(house, call_for(url, service="asks"), upstream.port) is ProblemCode.APPROVAL_REQUIRED
        big = call_for(url, "POST", service="little", body=b"123456", length=6)
        assert await refused(house, big, upstream.port) is ProblemCode.RATE_LIMITED
        assert await refused(house, call_for(url, service="little"), upstream.port) is ProblemCode.RATE_LIMITED
        assert upstream.heads == []


async def test_a_deleted_credential_is_refused_on_the_next_request_also_over_a_kept_connection(house: House) -> None:
    async with serve() as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        pipeline = house.pipeline(upstream.port)
        await fetch(pipeline, call)
        await house.vault.delete("github")
        assert await refused(house, call, upstream.port) is ProblemCode.CREDENTIAL_UNKNOWN
        assert len(upstream.heads) == 1


async def test_a_kept_connection_that_the_host_closed_is_replaced_for_what_may_be_sent_again(house: House) -> None:
    async def once(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer())
        await writer.drain()
        await _reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async with serve(once) as upstream:
        await house.allow(upstream.port)
        url = f"http://127.0.0.1:{upstream.port}/"
        pipeline = house.pipeline(upstream.port)
        assert (await fetch(pipeline, call_for(url)))[0] == 200
        assert (await fetch(pipeline, call_for(url)))[0] == 200
        assert upstream.connections == 2


async def test_an_answer_that_breaks_off_is_an_error_and_its_outcome_is_on_record(house: House) -> None:
    async def cut(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with serve(cut) as upstream:
        await house.allow(upstream.port)
        with pytest.raises(Refusal):
            await fetch(house.pipeline(upstream.port), call_for(f"http://127.0.0.1:{upstream.port}/"))
        outcome = (await house.entries("proxy.http_request"))[-1]
        assert (outcome["outcome"], outcome["reason"]) == ("failed", "upstream_unreachable")


class Broken:
    """Stands in the place of one part; one of its methods does something else."""

    def __init__(self, part: Any, name: str, act: Any) -> None:
        self._part, self._name, self._act = part, name, act

    def __getattr__(self, name: str) -> Any:
        return self._act if name == self._name else getattr(self._part, name)


def _raise(*_arguments: Any, **_keywords: Any) -> Any:
    message = f"library text with {SECRET}"
    raise RuntimeError(message)


async def _raise_later(*_arguments: Any, **_keywords: Any) -> Any:
    _raise()


async def _none_later(*_arguments: Any, **_keywords: Any) -> None:
    return None


def _none(*_arguments: Any, **_keywords: Any) -> None:
    return None


PORTS = [
    ("vault", "find", _raise), ("vault", "find", _none), ("vault", "find", lambda _service: "garbage"),
    ("vault", "secrets_for_host", _raise), ("vault", "secrets_for_host", _none),
    ("vault", "open_secret", _raise), ("vault", "open_secret", _none),
    ("recorder", "intent", _raise_later), ("recorder", "intent", _none_later),
    ("resolver", "resolve", _raise_later), ("resolver", "resolve", _none_later),
    ("guard", "judge_host", _raise), ("guard", "judge_addresses", _raise), ("guard", "judge_addresses", _none),
    ("quotas", "take_request", _raise), ("quotas", "take_bytes", _raise),
]  # fmt: skip
AFTER_DIALLING = {"secrets_for_host", "open_secret", "take_bytes"}


@pytest.mark.parametrize(("port", "name", "act"), PORTS, ids=lambda value: getattr(value, "__name__", value))
async def test_when_a_check_raises_or_gives_nonsense_nothing_is_sent(
    house: House, port: str, name: str, act: Any
) -> None:
    async with serve() as upstream:
        await house.vault.store("github", "github", (await binding_of_name("good.example", upstream.port),), SECRET)
        guard = house.make_guard({("good.example", upstream.port): ["127.0.0.1"]})
        house.resolver.answers["good.example"] = [["127.0.0.1"]]
        whole = guard if port == "guard" else getattr(house, port)
        pipeline = house.pipeline(**({"guard": guard} | {port: Broken(whole, name, act)}))
        call = call_for(f"http://good.example:{upstream.port}/", "POST", service="github", body=b"x", length=1)
        with pytest.raises(Exception) as caught:
            await fetch(pipeline, call)
        assert not isinstance(caught.value, TimeoutError | AssertionError)
        assert upstream.heads == []
        if name not in AFTER_DIALLING:
            assert upstream.connections == 0


async def binding_of_name(host: str, port: int) -> Any:
    from egress_house import binding_for

    return binding_for(port, host=host)


async def test_the_same_request_goes_out_when_nothing_is_broken(house: House) -> None:
    async with serve() as upstream:
        await house.vault.store("github", "github", (await binding_of_name("good.example", upstream.port),), SECRET)
        house.resolver.answers["good.example"] = [["127.0.0.1"]]
        guard = house.make_guard({("good.example", upstream.port): ["127.0.0.1"]})
        call = call_for(f"http://good.example:{upstream.port}/", "POST", service="github", body=b"x", length=1)
        assert (await fetch(house.pipeline(guard=guard), call))[0] == 200
        assert upstream.bodies == [b"x"]


async def test_when_the_ledger_refuses_nothing_is_resolved_or_dialled(house: House) -> None:
    async def refuse(*_arguments: Any, **_keywords: Any) -> Any:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The disk is full.", "Make room.")

    async with serve() as upstream:
        await house.allow(upstream.port)
        recorder = Broken(house.recorder, "intent", refuse)
        call = call_for(f"http://127.0.0.1:{upstream.port}/")
        assert await refused(house, call, upstream.port, recorder=recorder) is ProblemCode.AUDIT_UNAVAILABLE
        assert upstream.connections == 0


async def test_the_intent_is_on_disk_before_the_connection_is_made(house: House) -> None:
    seen: list[str] = []

    async def look(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(str(entry.event) for entry in await house.recorder.events(EventQuery(limit=10)))
        writer.write(answer())

    async with serve(look) as upstream:
        await house.allow(upstream.port)
        await fetch(house.pipeline(upstream.port), call_for(f"http://127.0.0.1:{upstream.port}/"))
    assert seen == ["proxy.http_request"]


async def test_no_plaintext_is_reachable_after_the_exchange(house: House) -> None:
    import gc

    async with serve() as upstream:
        await house.store(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        pipeline = house.pipeline(upstream.port)
        await fetch(pipeline, call)
        upstream.heads.clear()
        gc.collect()
        holders = [item for item in gc.get_objects() if isinstance(item, pipeline_module.Scrubber)]
        assert all(holder._patterns == [] for holder in holders)


async def never_ending(_head: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\nhello\n\n\r\n")
    await asyncio.Event().wait()


async def read_until_cut(pipeline: Any, call: Any, begun: asyncio.Event) -> ProblemCode:
    with pytest.raises(Refusal) as caught:
        async with pipeline.open(call) as exchange:
            async for _ in exchange.body():
                begun.set()
    return caught.value.problem.code


async def change_while_streaming(house: House, port: int, change: Any, **wanted: Any) -> ProblemCode | str:
    """What becomes of a stream, and of another one at the same time, when the operator changes something."""
    pipeline, begun = house.pipeline(port), asyncio.Event()
    call = call_for(f"http://127.0.0.1:{port}/repos", **({"service": "github"} | wanted))
    stream = asyncio.create_task(read_until_cut(pipeline, call, begun))
    async with asyncio.timeout(10):
        await begun.wait()
        await change()
        pipeline.recheck()
        if not house.open_calls.all() or house.open_calls.all()[0].was_cut:
            return await stream
    stream.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stream
    return "goes on"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ("deleted", ProblemCode.CREDENTIAL_UNKNOWN),
        ("narrowed", ProblemCode.BINDING_VIOLATION),
        ("confirm", ProblemCode.APPROVAL_REQUIRED),
        ("rotated", "goes on"),
        ("bound anew", "goes on"),
    ],
)
async def test_a_stream_is_cut_when_its_credential_no_longer_allows_it(
    house: House, changed: str, code: ProblemCode | str
) -> None:
    from egress_house import binding_for

    async with serve(never_ending) as upstream:
        await house.store(upstream.port)
        change = {
            "deleted": lambda: house.vault.delete("github"),
            "narrowed": lambda: house.vault.bind("github", (binding_for(upstream.port, path=("other",)),)),
            "confirm": lambda: house.vault.bind("github", (binding_for(upstream.port, confirm=True),)),
            "rotated": lambda: house.vault.rotate("github", "another-secret-of-some-length"),
            "bound anew": lambda: house.vault.bind("github", (binding_for(upstream.port, path=("repos",)),)),
        }[changed]
        assert await change_while_streaming(house, upstream.port, change) == code
        outcome = (await house.entries("proxy.http_request"))[-1]
        assert (outcome["outcome"], outcome["reason"]) == ("cut", getattr(code, "value", "abandoned"))


async def test_a_stream_by_a_rule_is_cut_when_the_rule_is_removed(house: House) -> None:
    async with serve(never_ending) as upstream:
        await house.allow(upstream.port)
        (rule,) = house.rules.list()
        code = await change_while_streaming(house, upstream.port, lambda: house.rules.remove(rule.id), service=None)
        assert code is ProblemCode.EGRESS_NOT_ALLOWED


async def test_a_change_that_cannot_be_decided_cuts_what_is_on_its_way(house: House) -> None:
    async with serve(never_ending) as upstream:
        await house.store(upstream.port)

        async def break_vault() -> None:
            house.vault.find = _raise  # type: ignore[method-assign]

        assert await change_while_streaming(house, upstream.port, break_vault) is ProblemCode.INTERNAL


async def test_a_request_that_waits_for_its_answer_or_sends_its_body_is_cut_too(house: House) -> None:
    silent = asyncio.Event()

    async def say_nothing(_head: bytes, _reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        silent.set()
        await asyncio.Event().wait()

    async def trickle() -> Any:
        yield b"x"
        await asyncio.Event().wait()

    for changes in ({}, {"body": trickle(), "length": None, "method": "POST"}):
        silent.clear()
        async with serve(say_nothing) as upstream, asyncio.timeout(10):
            await house.store(upstream.port, "github")
            pipeline = house.pipeline(upstream.port)
            call = call_for(f"http://127.0.0.1:{upstream.port}/", **({"service": "github"} | changes))
            task = asyncio.create_task(fetch(pipeline, call))
            await silent.wait()
            await house.vault.delete("github")
            pipeline.recheck()
            with pytest.raises(Refusal, match="credential_unknown"):
                await task
            assert house.open_calls.all() == ()


async def test_a_change_between_the_decision_and_the_dialling_is_not_missed(house: House) -> None:
    """The credential is deleted while the intent is being written."""

    async def intent(*arguments: Any, **keywords: Any) -> Any:
        receipt = await house.recorder.intent(*arguments, **keywords)
        await house.vault.delete("github")
        pipeline.recheck()
        return receipt

    async with serve() as upstream:
        await house.store(upstream.port)
        pipeline = house.pipeline(upstream.port, recorder=Broken(house.recorder, "intent", intent))
        with pytest.raises(Refusal, match="credential_unknown"):
            await fetch(pipeline, call_for(f"http://127.0.0.1:{upstream.port}/", service="github"))
        assert upstream.connections == 0
        outcome = (await house.entries("proxy.http_request"))[-1]
        assert (outcome["outcome"], outcome["reason"]) == ("cut", "credential_unknown")


async def test_without_the_recheck_the_stream_of_a_deleted_credential_goes_on(house: House) -> None:
    async with serve(never_ending) as upstream:
        await house.store(upstream.port)
        pipeline = house.pipeline(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", service="github")
        async with asyncio.timeout(10), pipeline.open(call) as exchange:
            pieces = exchange.body()
            assert await anext(pieces) == b"hello\n\n"
            await house.vault.delete("github")
            assert not house.open_calls.all()[0].was_cut


async def test_what_the_web_rule_allows_is_bounded_before_any_name_is_resolved(house: House) -> None:
    await house.rules.set_web(enabled=True)
    house.resolver.answers = {f"host{number}.example": [["127.0.0.1"]] for number in range(40)}
    pipeline = house.pipeline()
    codes = []
    for number in range(40):
        with pytest.raises(Refusal) as caught:
            await fetch(pipeline, call_for(f"https://host{number}.example/", run="run_a"))
        codes.append(caught.value.problem.code)
    assert codes == [ProblemCode.SSRF_BLOCKED] * 30 + [ProblemCode.RATE_LIMITED] * 10
    assert len(house.resolver.asked) == 30
    (intent, *_) = await house.entries("proxy.http_request")
    assert intent["details"]["web"] is True
    assert intent["details"]["url_bytes"] > 0
    assert (await house.entries("proxy.binding_violation"))[-1]["details"]["code"] == "rate_limited"


async def test_by_the_web_rule_no_header_of_the_callers_choice_goes_out(house: House) -> None:
    await house.rules.set_web(enabled=True)
    async with serve() as upstream:
        house.resolver.answers["a.example"] = [["127.0.0.1"]]
        guard = house.make_guard()
        # The one address that a test has is let through; the rule for every host is what is looked at.
        guard.judge_addresses = lambda _url, addresses: addresses  # type: ignore[method-assign, assignment]

        async def connect(url: Any, addresses: Any, _method: str) -> Any:
            plain = type(url)("http", "a.example", upstream.port, ("",), None, None)
            return await house.client.dial(plain, addresses), False

        client = Broken(house.client, "connect", connect)
        headers = [(b"accept", b"text/html"), (b"x-data", b"0123"), (b"user-agent", b"stolen"), (b"cookie", b"a=b")]
        call = call_for("https://a.example/", headers=headers)
        assert (await fetch(house.pipeline(guard=guard, client=client), call))[0] == 200
        assert b"accept: text/html\r\n" in upstream.heads[0]
        assert not any(word in upstream.heads[0] for word in (b"x-data", b"stolen", b"a=b"))


async def test_a_run_that_asks_for_too_much_at_once_is_refused_and_another_run_is_not(house: House) -> None:
    from mycelos.proxy.egress.open_calls import OpenCalls

    async with serve(never_ending) as upstream:
        await house.allow(upstream.port)
        pipeline = house.pipeline(upstream.port, open_calls=OpenCalls(per_run=1, per_host=10))
        url = f"http://127.0.0.1:{upstream.port}/"
        async with asyncio.timeout(10), pipeline.open(call_for(url, run="run_a")):
            with pytest.raises(Refusal, match="rate_limited"):
                await fetch(pipeline, call_for(url, run="run_a"))
            async with pipeline.open(call_for(url, run="run_b")) as exchange:
                assert exchange.status == 200
        assert (await house.entries("proxy.binding_violation"))[-1]["details"]["code"] == "rate_limited"


async def test_the_total_deadline_bounds_also_the_sending(house: House) -> None:
    async def trickle() -> Any:
        while True:
            await asyncio.sleep(0)
            yield b"x"

    async def read_for_ever(_head: bytes, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass

    async with serve(read_for_ever) as upstream:
        await house.allow(upstream.port, Method.POST)
        call = call_for(f"http://127.0.0.1:{upstream.port}/", "POST", body=trickle(), deadlines=Deadlines(total=0.2))
        with pytest.raises(Refusal, match="upstream_timeout"):
            await fetch(house.pipeline(upstream.port), call)
