from __future__ import annotations

import pytest

from mycelos.gateway.middleware.json_body import DEEPEST, check_json
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

CANARY = "sk-canary-0123456789"


@pytest.mark.parametrize(
    ("body", "detail", "next_step"),
    [
        (b'{"agent": "\xff"}', "The body is not UTF-8, from its byte 11 on", "UTF-8"),
        (b'{"agent": }', "The body is not valid JSON, at line 1, column 11", "Correct it"),
        (b"[" * 100_000, "The body is nested deeper", "no deeper"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "The body is nested deeper", "no deeper"),
        (b'{"agent": "a", "agent": "b"}', "The body has the key agent more than once", "each key once"),
        (b'{"x": {"sk-1": 1, "sk-1": 2}}', "The body has the key (key) more than once", "each key once"),
        (b'{"agent": NaN}', "The body holds NaN, which is not JSON", "number"),
        (b'{"agent": ' + b"9" * 5000 + b"}", "The body holds a number that is too long", "digits"),
    ],
)
async def test_a_body_that_has_no_one_meaning_is_refused_with_the_fix(
    page, body: bytes, detail: str, next_step: str
) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    answer = await page.command_line().post("/api/chats", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert answer.json()["detail"].startswith(detail)
    assert next_step in answer.json()["next"]
    assert page.proxy.appended == []


async def test_a_good_body_arrives_and_an_absent_one_is_named(page) -> None:
    client, headers = page.command_line(), {"Content-Type": "application/json"}
    answer = await client.post("/api/chats", content='{"title": "Grüße"}'.encode(), headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (201, "Grüße")
    assert "body" in (await client.post("/api/chats", content=b"", headers=headers)).json()["detail"]


def test_the_deepest_body_that_is_taken() -> None:
    check_json(b"[" * DEEPEST + b"]" * DEEPEST)
    check_json(b'{"a": ' * DEEPEST + b"1" + b"}" * DEEPEST)
    with pytest.raises(Refusal) as refused:
        check_json(b'{"a": ' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1))
    assert refused.value.problem.code is ProblemCode.INVALID_REQUEST


def test_nothing_of_the_body_is_repeated() -> None:
    for body in (f'{{"{CANARY}": 1, "{CANARY}": 2}}', f'{{"{CANARY}": }}', f'["{CANARY}"'):
        with pytest.raises(Refusal) as refused:
            check_json(body.encode())
        assert CANARY not in str(refused.value.problem)


async def test_a_content_type_that_comes_twice_is_refused(page) -> None:
    headers = [("Content-Type", "text/plain"), ("Content-Type", "application/json")]
    answer = await page.command_line().post("/api/chats", content=b"{}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
