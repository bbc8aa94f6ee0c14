from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.responses import PlainTextResponse
from vault_page import ServedVaultPage as Page

from mycelos.operator.client import OperatorUnavailableError
from mycelos.operator.refusal_record import RefusalRecord


def refusals(operator_system: Any) -> list[dict[str, Any]]:
    return [entry["details"] for entry in operator_system.events("operator.refused")]


@pytest.mark.parametrize(
    ("attack", "status", "method"),
    [
        (lambda page: page.browser.get("/login", headers={"Host": "attacker.example"}), 421, "GET"),
        (lambda page: page.post("/login", {"code": "x"}, Origin="https://attacker.example"), 403, "POST"),
        (lambda page: page.send("/lockdown", {"form_token": "x", "enabled": "yes"}), 403, "POST"),
        (lambda page: page.post("/nowhere", {}), 404, "POST"),
        (lambda page: page.browser.put("/login", headers={"Origin": page.base}), 405, "PUT"),
        (lambda page: page.send("/lockdown", {"enabled": "yes"}, Cookie="none"), 303, "POST"),
    ],
    ids=["a foreign name", "a foreign page", "no token", "an unknown route", "an unknown method", "no session"],
)
def test_what_the_page_refuses_is_put_on_record(
    signed_in: Page, operator_system: Any, attack: Callable[[Page], Any], status: int, method: str
) -> None:
    if status == 303:
        signed_in.browser.cookies.clear()
    assert attack(signed_in).status_code == status
    (details,) = refusals(operator_system)
    assert (details["status"], details["method"], details["attempts"]) == (status, method, 1)


def test_what_the_proxy_refused_is_on_record_by_its_own_word(page: Page, operator_system: Any) -> None:
    assert page.sign_in("guessed").status_code == 403
    assert refusals(operator_system) == []
    assert len(operator_system.events("operator.login_failed")) == 1


def test_looking_around_is_no_event(page: Page, operator_system: Any) -> None:
    for path in ("/", "/nowhere", "/login", "/s/nobody/rules"):
        page.browser.get(path)
    assert refusals(operator_system) == []


class _Client:
    def __init__(self, *, answers: bool = True) -> None:
        self.recorded: list[Any] = []
        self.answers = answers

    def record_refusal(self, message: Any) -> None:
        if not self.answers:
            raise OperatorUnavailableError(detail="It does not answer.", next_step="Start it.")
        self.recorded.append(message)


async def _refuse(record: RefusalRecord, times: int) -> list[int]:
    seen: list[int] = []

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])

    for _ in range(times):
        await record({"type": "http", "method": "POST", "headers": []}, _nothing, send)
    return seen


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.anyio
async def test_a_flood_leaves_an_entry_a_second_with_how_many_there_were() -> None:
    now, client = [0.0], _Client()
    record = RefusalRecord(PlainTextResponse("", 403), client, lambda: now[0])  # type: ignore[arg-type]
    await _refuse(record, 100)
    now[0] = 1.0
    await _refuse(record, 1)
    assert [message.attempts for message in client.recorded] == [1, 100]


@pytest.mark.anyio
async def test_without_the_proxy_a_refusal_stays_one() -> None:
    record = RefusalRecord(PlainTextResponse("", 403), _Client(answers=False))  # type: ignore[arg-type]
    assert await _refuse(record, 1) == [403]
