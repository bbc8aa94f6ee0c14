from __future__ import annotations

import logging

import pytest

from mycelos.gateway.middleware.error_boundary import BrokenAnswerError, ErrorBoundary
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio
SCOPE = {"type": "http", "path": "/api/x", "headers": []}


async def run(app) -> list:
    sent = []

    async def send(message) -> None:
        sent.append(message)

    await ErrorBoundary(app)(dict(SCOPE), None, send)
    return sent


async def test_an_unexpected_error_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope, receive, send) -> None:
        message = "canary-in-exception"
        raise ZeroDivisionError(message)

    with caplog.at_level(logging.DEBUG):
        sent = await run(app)
    assert sent[0]["status"] == 500
    assert "canary" not in repr(sent) + caplog.text
    assert f"unexpected ZeroDivisionError at {__name__}:" in caplog.text


async def test_a_refusal_of_a_layer_becomes_its_document() -> None:
    async def app(scope, receive, send) -> None:
        raise Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger is down.", "Wait.")

    sent = await run(app)
    assert sent[0]["status"] == 503
    assert b"audit_unavailable" in sent[1]["body"]


async def test_an_answer_that_had_begun_is_cut_and_not_patched() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        message = "canary-in-exception"
        raise ZeroDivisionError(message)

    with pytest.raises(BrokenAnswerError) as broken:
        await run(app)
    assert "canary" not in str(broken.value)
    assert broken.value.__suppress_context__


async def test_what_goes_well_is_left_alone() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    assert [message["status"] for message in await run(app)] == [204]
