"""Reading pages: without a credential, text only, labelled."""

from __future__ import annotations

from typing import Any

import pytest
from gateway_back import answered

from mycelos.gateway.tools.permit import Permit, digest
from mycelos.gateway.tools.web import Web
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.egress import HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

PAGE = """<html><head><title>t</title><style>p {}</style></head><body><h1>Moss</h1><script>steal()</script>
<p>It &amp; grows<br>here</p><template>hidden</template></body></html>"""


async def read(answer: HttpAnswer, url: str = "https://a.test/") -> tuple[Any, list[HttpCall]]:
    calls: list[HttpCall] = []

    async def http(call: HttpCall) -> HttpAnswer:
        calls.append(call)
        return answer

    (tool,) = Web(http).tools()
    args = {"url": url}
    receipt = AppendReceipt(seq=0, leaf_hash="0" * 64, checkpoint=None)
    return await tool.call(Permit("run_x", "assistant", tool.name, digest(args), receipt), args), calls


async def test_a_page_is_read_without_a_credential_as_its_visible_text() -> None:
    answer, (call,) = await read(answered(PAGE, "text/html; charset=utf-8"))
    assert answer.content == "Status 200\nMoss\nIt & grows\nhere"
    assert answer.labels == ("untrusted",)
    assert (call.method, call.inject_credential, call.run_id) == ("GET", None, "run_x")


async def test_plain_text_stays_as_it_is() -> None:
    answer, _ = await read(answered("<b>not markup</b>", "text/plain"))
    assert answer.content.endswith("<b>not markup</b>")


@pytest.mark.parametrize("content_type", ["image/png", "application/octet-stream", ""])
async def test_what_is_no_text_is_refused(content_type: str) -> None:
    with pytest.raises(Refusal) as refused:
        await read(answered("x", content_type))
    assert refused.value.problem.code is ProblemCode.UPSTREAM_INVALID


@pytest.mark.parametrize("url", ["ftp://a.test/", "a.test", "file:///etc/passwd", "http://" + "a" * 3000])
async def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(Refusal, match="invalid_request"):
        await read(answered("x", "text/plain"), url)
