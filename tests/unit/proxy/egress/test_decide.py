from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from egress_house import House, call_for

from mycelos.proxy.egress.approval_check import WAITING_BODY_LIMIT, Asked, UnapprovedError, WaitingError
from mycelos.proxy.egress.decide import Decider, parse
from mycelos.proxy.egress.guard import Blocked
from mycelos.wire.binding import Header, UrlPath
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio


def decider_of(house: House, opened: dict[tuple[str, int], list[str]] | None = None) -> Decider:
    return Decider(house.lockdown, house.make_guard(opened), house.vault, house.rules, house.approvals)


def test_a_url_that_could_be_read_as_another_host_is_blocked_and_another_mistake_is_invalid() -> None:
    with pytest.raises(Blocked):
        parse(call_for("http://a.example@b.example/"))
    with pytest.raises(Refusal, match="invalid_request") as caught:
        parse(call_for("http://a.example/%2e"))
    assert not isinstance(caught.value, Blocked)


def test_a_placeholder_is_looked_for_in_what_came_as_a_whole_message() -> None:
    with pytest.raises(Refusal, match="injection_refused"):
        parse(call_for("http://a.example/", "POST", body=b"{credential}", door="http"))
    assert parse(call_for("http://a.example/", "POST", body=b"{credential}", door="forward")).host == "a.example"


async def test_a_grant_names_the_credential_and_its_binding_or_the_rule(house: House) -> None:
    await house.store(443, host="a.example", scheme="https")
    decider = decider_of(house)
    call = call_for("https://a.example/", service="github")
    grant = decider.decide(call, parse(call))
    assert (grant.credential, grant.rule) == (house.vault.find("github"), None)
    assert grant.binding == grant.credential.bindings[0]  # type: ignore[union-attr]
    await house.rules.set_web(enabled=True)
    call = call_for("https://b.example/")
    grant = decider.decide(call, parse(call))
    assert (grant.credential, grant.binding, grant.is_web) == (None, None, True)


async def test_a_binding_that_waits_for_a_person_grants_nothing_without_an_approval(house: House) -> None:
    await house.store(443, host="a.example", scheme="https", confirm=True)
    decider = decider_of(house)
    call = call_for("https://a.example/", service="github")
    assert decider.shows_person(call)
    assert not decider.shows_person(call_for("https://a.example/"))
    with pytest.raises(UnapprovedError) as caught:
        decider.decide(call, parse(call))
    held = house.approvals.hold(caught.value.asked)
    named = replace(call, approval=held.id)
    with pytest.raises(WaitingError):
        decider.decide(named, parse(named))
    approved = house.approvals.decide(held.id, held.digest, is_approved=True)
    assert decider.decide(named, parse(named)).approval == approved
    with pytest.raises(UnapprovedError):
        decider.decide(call, parse(call))


async def test_a_person_is_shown_who_asks_for_what_and_nothing_that_a_person_cannot_see_whole(house: House) -> None:
    await house.store(443, host="a.example", scheme="https", confirm=True)
    credential = house.vault.find("github")
    assert credential is not None
    headers = [(b"Accept", b"\xe9")]
    call = call_for(
        "https://a.example/x?q=1", "PUT", service="github", body=b"\xff", run="run_1", agent="helper", purpose="p",
        headers=headers,
    )  # fmt: skip
    decider = decider_of(house)
    with pytest.raises(UnapprovedError) as caught:
        decider.decide(call, parse(call))
    sent = (("accept", "é"), ("user-agent", "mycelos"), ("accept-encoding", "identity"))
    assert caught.value.asked == Asked(
        "github", credential.id, 1, "PUT", "https://a.example/x?q=1", "bearer", sent, b"\xff", "run_1", "helper", "p"
    )

    async def pieces() -> Any:
        yield b"x"

    for body, code in ((pieces(), "invalid_request"), (bytes(WAITING_BODY_LIMIT + 1), "too_large")):
        with pytest.raises(Refusal, match=code):
            decider.decide(replace(call, body=body), parse(call))


async def test_what_is_granted_and_what_a_person_was_shown_are_the_same_headers(house: House) -> None:
    await house.store(443, host="a.example", scheme="https", confirm=True, inject=Header("User-Agent"))
    given = [(b"User-Agent", b"mine"), (b"Cookie", b"mine"), (b"Accept", b"text/plain")]
    call = call_for("https://a.example/", service="github", headers=given)
    with pytest.raises(UnapprovedError) as caught:
        decider_of(house).decide(call, parse(call))
    assert caught.value.asked.headers == (("accept", "text/plain"), ("accept-encoding", "identity"))
    assert caught.value.asked.inject_as == "header:User-Agent"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"method": "TRACE"}, ProblemCode.METHOD_NOT_ALLOWED),
        ({"url": "https://127.0.0.1/"}, ProblemCode.SSRF_BLOCKED),
        ({"url": "https://metadata.google.internal/"}, ProblemCode.SSRF_BLOCKED),
        ({"service": "other"}, ProblemCode.CREDENTIAL_UNKNOWN),
        ({"url": "https://a.example/{credential}"}, ProblemCode.BINDING_VIOLATION),
        ({"service": None, "method": "POST"}, ProblemCode.EGRESS_NOT_ALLOWED),
        ({"service": None, "body": b"data"}, ProblemCode.EGRESS_NOT_ALLOWED),
    ],
)
async def test_what_nothing_allows_is_refused_with_its_code(
    house: House, changes: dict[str, Any], code: ProblemCode
) -> None:
    await house.store(443, host="a.example", scheme="https")
    await house.rules.set_web(enabled=True)
    wanted = {"url": "https://a.example/", "method": "GET", "service": "github"} | changes
    call = call_for(**wanted)
    with pytest.raises(Refusal) as caught:
        decider_of(house).decide(call, parse(call))
    assert caught.value.problem.code is code


async def test_the_rule_for_every_public_host_says_nothing_about_an_opened_one(house: House) -> None:
    await house.rules.set_web(enabled=True)
    call = call_for("https://nas.example/")
    assert decider_of(house).decide(call, parse(call)).is_web
    with pytest.raises(Refusal, match="egress_not_allowed"):
        decider_of(house, {("nas.example", 443): ["10.0.0.1"]}).decide(call, parse(call))


async def test_a_template_in_the_path_is_what_the_binding_is_held_against(house: House) -> None:
    await house.store(443, host="a.example", scheme="https", inject=UrlPath(), path=("bot{credential}",))
    call = call_for("https://a.example/bot{credential}/getMe", service="github")
    assert decider_of(house).decide(call, parse(call)).binding is not None


async def test_while_locked_down_nothing_is_allowed(house: House) -> None:
    await house.store(443, host="a.example", scheme="https")
    await house.rules.set_web(enabled=True)
    calls = [call_for("https://a.example/", service="github"), call_for("https://b.example/")]
    house.lockdown.stop()
    for call in calls:
        with pytest.raises(Refusal, match="locked_down"):
            decider_of(house).decide(call, parse(call))
    await house.lockdown.lift()
    for call in calls:
        assert decider_of(house).decide(call, parse(call))


async def test_a_page_that_nobody_was_asked_about_says_how_to_answer(house: House) -> None:
    call = call_for("https://b.example/")
    for answer in (None, False):
        if answer is not None:
            await house.rules.set_web(enabled=answer)
        with pytest.raises(Refusal, match="egress_not_allowed") as caught:
            decider_of(house).decide(call, parse(call))
        assert ("mycelos egress web on" in caught.value.problem.next) is (answer is None)
