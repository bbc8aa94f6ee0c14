"""The official SDKs over `/forward`: unchanged, streaming included, with the key at the upstream and nowhere else."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme
from listening_proxy import listening_proxy, wire_tap
from model_upstream import ARGUMENTS, TOOL, model_upstream
from sdk_clients import AnthropicSdk, OpenAISdk

from mycelos.wire.binding import Bearer, Binding, Header, Method, ResponseRule
from mycelos.wire.operator import StoreCredential
from mycelos.wire.secret_forms import secret_forms

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "forward.md"
REMOVED = "[credential removed]"
SDKS = [OpenAISdk, AnthropicSdk]
KEYS = {"openai": "sk-Ry5xVf0Tq8Lm/2bWn+7c", "anthropic": "sk-ant-Zk4uHs9Dp1Xv/6gQe+3j"}
BOUND = {
    # The place of each key, and the path where it may go.
    "openai": (Bearer(), ("v1", "chat", "completions"), "authorization", "Bearer "),
    "anthropic": (Header("x-api-key"), ("v1", "messages"), "x-api-key", ""),
}


def binding(upstream, sdk):
    host, _, port = upstream.authority.rpartition(":")
    injection, path, _, _ = BOUND[sdk.service]
    return Binding(
        v=1,
        scheme=sdk.scheme,
        host=host,
        port=int(port),
        methods=(Method.POST,),
        path=path,
        query="none",
        inject=injection,
        response=ResponseRule("drop", "redact"),
        confirm=False,
        quota=None,
    )


@dataclass
class House:
    """A proxy with a key for each of two upstreams, and a wire tap between it and the SDKs."""

    proxy: object
    tap: object
    upstreams: dict[str, object]

    clients: list[object] = field(default_factory=list)
    begins_after: int = -1

    def begin(self):
        """Forget what other tests did."""
        self.begins_after = self.proxy.entries()[-1].seq
        for upstream in self.upstreams.values():
            upstream.received.clear()
            upstream.go_on.clear()
            upstream.gave_up = False

    def entries(self):
        """What is on record since."""
        return self.proxy.entries(self.begins_after)

    def sdk(self, kind, *, token=None, **headers):
        """The SDK's two clients, and the upstream that they speak to. A test that uses the asynchronous one ends it."""
        upstream = self.upstreams[kind.service]
        named = {
            "Mycelos-Protocol": "1",
            "Mycelos-Credential": kind.service,
            "Mycelos-Run": "run-7",
            "Mycelos-Purpose": "weather",
        }
        origin = f"http://{self.tap.authority}/forward/{kind.scheme}/{upstream.authority}"
        sdk = kind(origin, token or self.proxy.token, named | headers)
        self.clients.append(sdk.sync)
        return sdk, upstream


@contextmanager
def make_house(folder, **changes):
    authority = trustme.CA()
    roots = folder / "roots.pem"
    authority.cert_pem.write_to_path(roots)

    def server_context():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        return context

    data = folder / "data"
    data.mkdir(mode=0o700)
    with ExitStack() as stack:
        upstreams = {
            kind.service: stack.enter_context(
                model_upstream(KEYS[kind.service], tls=server_context if kind.scheme == "https" else None)
            )
            for kind in SDKS
        }
        opened = [upstream.authority for upstream in upstreams.values()]
        proxy = stack.enter_context(listening_proxy(data, opened, roots, **changes))
        for kind in SDKS:
            bindings = (binding(upstreams[kind.service], kind),)
            proxy.operator.store(StoreCredential(service=kind.service, secret=KEYS[kind.service], bindings=bindings))
        house = House(proxy, stack.enter_context(wire_tap(proxy.authority)), upstreams)
        yield house
        for client in house.clients:
            client.close()


@pytest.fixture(autouse=True)
def _nothing_of_this_machine_s(monkeypatch):
    """No key and no HTTP proxy of the person who runs the tests."""
    for name in list(os.environ):
        if name.upper().startswith(("OPENAI_", "ANTHROPIC_")) or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def running():
    folder = Path(tempfile.mkdtemp(prefix="m-"))
    try:
        with make_house(folder) as made:
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def house(running):
    """The house as one test sees it; whatever the test did, no key is where it must not be."""
    running.begin()
    yield running
    assert leaks(running) == []


def leaks(house):
    """Where a key is that is not its upstream, in any spelling; and the bearer, where it is at an upstream."""
    places = {
        "what the SDKs received": bytes(house.tap.to_client),
        "what the SDKs sent": bytes(house.tap.from_client),
        "the proxy's output": house.proxy.output.read_bytes(),
        "the proxy's environment": Path(f"/proc/{house.proxy.pid}/environ").read_bytes() if os.geteuid() == 0 else b"",
        "the proxy's arguments": Path(f"/proc/{house.proxy.pid}/cmdline").read_bytes(),
        "this process's environment": repr(dict(os.environ)).encode(),
        "the ledger": json.dumps([entry.as_dict() for entry in house.proxy.entries()]).encode(),
    }
    places |= {
        f"the file {path.name}": path.read_bytes()
        for path in house.proxy.layout.root.rglob("*")
        if path.is_file() and path != house.proxy.layout.master_key
    }
    for service, upstream in house.upstreams.items():
        sent = "".join(received.text for received in upstream.received).encode()
        assert house.proxy.token.encode() not in sent, f"the bearer at {service}"
        (other,) = set(house.upstreams) - {service}
        places[f"the upstream of {service}"] = sent.replace(KEYS[service].encode(), b"")
        assert KEYS[other].encode() not in sent
    return [
        f"the key of {service} in {place}"
        for place, content in places.items()
        for service, key in KEYS.items()
        if any(form in content for form in secret_forms(key.encode()))
    ]


def placed(upstream, service):
    """The key stands in its header, once, and in no other part of any request."""
    _, _, name, prefix = BOUND[service]
    assert upstream.received
    return all(
        received.values(name) == [prefix + KEYS[service]] and received.text.count(KEYS[service]) == 1
        for received in upstream.received
    )


@pytest.mark.parametrize("kind", SDKS)
def test_a_plain_call_and_a_tool_call_come_back_and_the_key_is_at_the_upstream_alone(house, kind):
    sdk, upstream = house.sdk(kind)
    assert sdk.ask("what is the weather?") == "It rains."
    assert sdk.ask("use the tool") == f"{TOOL} {ARGUMENTS}"
    assert len(upstream.received) == 2
    assert placed(upstream, kind.service)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", SDKS)
async def test_the_asynchronous_clients_do_the_same(house, kind):
    sdk, upstream = house.sdk(kind)
    async with sdk.asynchronous:
        assert await sdk.ask_async("what is the weather?") == "It rains."
        assert await sdk.ask_async("use the tool") == f"{TOOL} {ARGUMENTS}"
    assert placed(upstream, kind.service)


@pytest.mark.parametrize("kind", SDKS)
def test_a_stream_s_first_event_arrives_before_the_upstream_writes_the_second(house, kind):
    sdk, upstream = house.sdk(kind)
    pieces = []
    for piece in sdk.stream("what is the weather?"):
        pieces.append(piece)
        if piece:
            # The upstream waits for this: it has not written the next event.
            upstream.go_on.set()
    assert "".join(pieces) == "It rains."
    assert not upstream.gave_up
    assert placed(upstream, kind.service)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", SDKS)
async def test_it_does_so_at_the_asynchronous_clients_too(house, kind):
    sdk, upstream = house.sdk(kind)
    pieces = []
    async with sdk.asynchronous:
        async for piece in sdk.stream_async("what is the weather?"):
            pieces.append(piece)
            if piece:
                upstream.go_on.set()
    assert "".join(pieces) == "It rains."
    assert not upstream.gave_up


@pytest.mark.parametrize("kind", SDKS)
def test_a_tool_call_streams_its_name_before_its_arguments(house, kind):
    sdk, upstream = house.sdk(kind)
    pieces = []
    for piece in sdk.stream("use the tool"):
        pieces.append(piece)
        if piece:
            upstream.go_on.set()
    assert "".join(pieces) == f"{TOOL} {ARGUMENTS}"
    assert not upstream.gave_up


@pytest.mark.parametrize("kind", SDKS)
def test_a_key_that_the_upstream_sends_back_is_taken_out(house, kind):
    sdk, _ = house.sdk(kind)
    # As it is, in base64 and in hexadecimal; that no spelling of it is left is looked at after each test.
    assert sdk.ask("echo the key").count(REMOVED) == 3
    assert "proxy.response_scrubbed" in {entry.event for entry in house.entries()}


@pytest.mark.parametrize("kind", SDKS)
def test_a_key_that_is_cut_in_two_by_a_chunk_s_border_is_taken_out(house, kind):
    sdk, upstream = house.sdk(kind)
    pieces = []
    for piece in sdk.stream("echo the key"):
        pieces.append(piece)
        if piece:
            # The first half of the key is with the proxy, the second not yet written.
            upstream.go_on.set()
    assert "".join(pieces) == f"It is {REMOVED}, I think."
    assert not upstream.gave_up


@pytest.mark.parametrize("kind", SDKS)
def test_a_key_that_is_spelled_out_an_event_for_each_letter_is_not_seen_through_and_the_page_says_so(house, kind):
    sdk, _ = house.sdk(kind)
    assert "".join(sdk.stream("spell the key")) == KEYS[kind.service]
    assert "letter by letter, each in an event of its own, is not seen through" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", SDKS)
@pytest.mark.parametrize(("status", "error"), [(429, "RateLimitError"), (500, "InternalServerError")])
def test_an_error_of_the_upstream_is_the_sdk_s_own_and_quotes_no_key(house, kind, status, error):
    sdk, _ = house.sdk(kind)
    with pytest.raises(getattr(kind.module, error)) as raised:
        sdk.ask(f"fail {status}")
    assert raised.value.status_code == status
    assert f"the key {REMOVED} was not liked" in str(raised.value)
    assert raised.value.response.headers["x-echo"] == REMOVED
    assert "Mycelos-Refused" not in raised.value.response.headers


@pytest.mark.anyio
@pytest.mark.parametrize("kind", SDKS)
async def test_it_is_so_at_the_asynchronous_clients_too(house, kind):
    sdk, _ = house.sdk(kind)
    async with sdk.asynchronous:
        with pytest.raises(kind.module.RateLimitError, match="was not liked"):
            await sdk.ask_async("fail 429")
        with pytest.raises(kind.module.PermissionDeniedError) as refused:
            await sdk.unbound_async()
    assert refused.value.response.headers["Mycelos-Refused"] == "binding_violation"


@pytest.mark.parametrize("kind", SDKS)
def test_a_refusal_of_the_proxy_is_told_from_the_upstream_s_by_its_header_and_says_what_to_do(house, kind):
    sdk, upstream = house.sdk(kind)
    with pytest.raises(kind.module.PermissionDeniedError) as raised:
        sdk.unbound()
    response = raised.value.response
    assert response.headers["Mycelos-Refused"] == "binding_violation"
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert (problem["code"], problem["status"]) == ("binding_violation", 403)
    assert "methods" in problem["detail"]
    assert "mycelos credential" in problem["next"]
    assert upstream.received == []
    assert "proxy.binding_violation" in {entry.event for entry in house.entries()}


@pytest.mark.parametrize("kind", SDKS)
@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"token": "x" * 64}, "AuthenticationError", "unauthorized"),
        ({"Mycelos-Credential": "nobody"}, "PermissionDeniedError", "credential_unknown"),
        ({"Mycelos-Protocol": "2"}, "BadRequestError", "protocol_unsupported"),
        ({"Mycelos-Inject-As": "header:x-seen"}, "PermissionDeniedError", "binding_violation"),
    ],
    ids=["bearer", "credential", "protocol", "form"],
)
def test_a_wrong_bearer_name_version_or_form_is_refused_in_the_sdk_s_own_words(house, kind, changes, error, code):
    sdk, upstream = house.sdk(kind, **changes)
    with pytest.raises(getattr(kind.module, error)) as raised:
        sdk.ask("what is the weather?")
    assert raised.value.response.headers["Mycelos-Refused"] == code
    assert upstream.received == []


@pytest.mark.parametrize("kind", SDKS)
def test_a_call_is_on_record_with_its_run_and_purpose_and_what_the_sdk_says_of_itself_stays_here(house, kind):
    sdk, upstream = house.sdk(kind)
    sdk.ask("what is the weather?")
    (intent,) = [entry for entry in house.entries() if (entry.event, entry.phase) == ("proxy.http_request", "intent")]
    details = json.loads(intent.details)
    assert (intent.run, details["purpose"], details["door"]) == ("run-7", "weather", "forward")
    assert details["path"] == "/" + "/".join(BOUND[kind.service][1])
    names = {name for name, _ in upstream.received[0].headers}
    assert not {name for name in names if name.startswith(("mycelos-", "x-stainless-"))}
    assert ("anthropic-version" in names) == (kind is AnthropicSdk)


def patched(text):
    return ("-I", "-c", f"{text}\nfrom mycelos.proxy.main import main\nraise SystemExit(main())\n")


WITHOUT_SCRUBBER = """
from mycelos.proxy.egress.scrub import Scrubber
original = Scrubber.__init__
Scrubber.__init__ = lambda self, secrets: original(self, [b"another" for _ in secrets])
"""
BUFFERING = """
from mycelos.proxy.egress.exchange import Exchange
original = Exchange.body
async def whole(self):
    yield b"".join([piece async for piece in original(self)])
Exchange.body = whole
"""


@pytest.mark.parametrize("kind", SDKS)
def test_with_the_scrubber_taken_away_the_search_finds_the_key(short_directory, kind):
    with make_house(short_directory, program=patched(WITHOUT_SCRUBBER)) as house:
        sdk, _ = house.sdk(kind)
        assert KEYS[kind.service] in sdk.ask("echo the key")
        assert leaks(house) == [f"the key of {kind.service} in what the SDKs received"]


@pytest.mark.parametrize("kind", SDKS)
def test_a_proxy_that_waits_for_the_whole_answer_is_seen_by_its_upstream(short_directory, kind):
    with make_house(short_directory, program=patched(BUFFERING)) as house:
        sdk, upstream = house.sdk(kind)
        upstream.patience = 0.2
        for piece in sdk.stream("what is the weather?"):
            if piece:
                upstream.go_on.set()
        assert upstream.gave_up


def test_the_page_s_examples_run_as_they_stand(house, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    monkeypatch.setenv("MYCELOS_PROXY_TOKEN", house.proxy.token)
    here = {
        "http://127.0.0.1:9110": f"http://{house.proxy.authority}",
        "/https/api.openai.com": f"/http/{house.upstreams['openai'].authority}",
        "/https/api.anthropic.com": f"/https/{house.upstreams['anthropic'].authority}",
    }
    code = "\n".join(blocks)
    for there, instead in here.items():
        assert there in code
        code = code.replace(there, instead)
    for upstream in house.upstreams.values():
        upstream.go_on.set()
    names = {}
    exec(compile(code, str(PAGE), "exec"), names)
    names["client"].close()
    told = capsys.readouterr().out
    assert told.count("It rains.") == 2
    assert "binding_violation" in told
    for service, upstream in house.upstreams.items():
        assert placed(upstream, service)
