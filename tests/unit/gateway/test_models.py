"""Answers put together from pieces; addresses; what is sent to the proxy and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from gateway_back import SteeredProxy, house, proxy_client

from mycelos.gateway.model_call import ModelCall
from mycelos.gateway.models import ModelClient, forward_url
from mycelos.gateway.store.records import Model
from mycelos.gateway.tools.registry import Registry
from mycelos.wire.conversation import UserMessage
from mycelos.wire.problems import ProblemCode, Refusal


def make_call(answer_characters: int = 100, model_format: str = "openai", url: str = "https://m.test/v1") -> ModelCall:
    async def on_text(_piece: str) -> None:
        return

    model = Model("model_x", "name", model_format, url, "scripted", "service", "2026")  # type: ignore[arg-type]
    return ModelCall(model, "be kind", (UserMessage("hi"),), (), "run_x", "assistant", answer_characters, on_text)


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("https://api.openai.com/v1", "http://mycelos-proxy/forward/https/api.openai.com/v1"),
        ("http://127.0.0.1:8080/v1/", "http://mycelos-proxy/forward/http/127.0.0.1:8080/v1"),
        ("https://api.anthropic.com", "http://mycelos-proxy/forward/https/api.anthropic.com"),
    ],
)
def test_a_providers_address_becomes_the_proxys_door(base: str, expected: str) -> None:
    assert forward_url(base) == expected


@pytest.mark.parametrize(
    "base",
    [
        "",
        "ftp://a/",
        "api.openai.com/v1",
        "https://user:key@a.test/",
        "https://a.test/?key=1",
        "https://a.test/#x",
        "https://a:b/",
        "https://[/",
    ],
)
def test_what_is_no_plain_address_is_refused(base: str) -> None:
    with pytest.raises(Refusal, match="invalid_request"):
        forward_url(base)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_no_key_leaves_the_gateway_and_the_proxy_is_told_which_to_inject(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as home:
        await home.store.models.create(
            "keyed", name, "https://model.test/v1" if name == "openai" else "https://model.test", "m", "service"
        )  # type: ignore[arg-type]
        await home.ask("hello", "keyed")
        (headers,) = home.proxy.forwarded
        assert headers["mycelos-credential"] == "service"
        assert headers["mycelos-run"].startswith("run_")
        assert "placeholder" not in str(headers)
        assert "injected-by-the-proxy" not in str(headers)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["openai", "anthropic"])
async def test_a_failing_provider_ends_the_run_with_a_plain_reason(tmp_path: Path, name: str) -> None:
    async with house(tmp_path) as home:
        events = await home.ask("broken", name)
        assert events[-1].data["code"] == "model_unavailable"
        assert "scripted failure" not in str(events)


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"data: {",
        b"not a stream",
        b'data: {"choices": 7}\n\n',
        b"\xff" * 100,
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"type":"text_delta","text":7}}\n\n',
    ],
)
async def test_a_stream_of_another_form_is_refused_or_empty_and_never_an_accident(
    tmp_path: Path, name: str, body: bytes
) -> None:
    async def nonsense(scope: object, receive: object, send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    async with proxy_client(SteeredProxy(nonsense), tmp_path / "head") as client:
        models = ModelClient(client.transport, Registry([]))
        try:
            answer = await models.ask(make_call(model_format=name, url="https://m.test"))
        except Refusal as refusal:
            code = refusal.problem.code
        else:
            code = ProblemCode.MODEL_UNAVAILABLE
            assert (answer.text, answer.tool_uses) == ("", ())
        assert code is ProblemCode.MODEL_UNAVAILABLE
