from __future__ import annotations

from typing import Any

import pytest
from egress_house import SECRET, House, answer, binding_for, call_for, fetch, serve

from mycelos.ledger.events import SUSPICIOUS
from mycelos.proxy.egress.trail import UNREAD, Said, SecretHeldError, Trail
from mycelos.proxy.egress.url import parse_url
from mycelos.proxy.stored_secrets import REQUEST_CHARACTERS, StoredSecrets
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_forms import secret_forms

pytestmark = pytest.mark.anyio


async def read(house: House, call: Any, *, is_url: bool = True, characters: int = REQUEST_CHARACTERS) -> Said:
    trail = Trail(house.recorder, StoredSecrets(house.vault, characters))
    return await trail.read(call, parse_url(call.url) if is_url else None)


async def test_the_record_holds_scheme_host_port_and_path_and_never_query_fragment_or_header(house: House) -> None:
    call = call_for(
        "https://example.com/bot{credential}/x?token=1#part",
        headers=[(b"x-token", b"2")], service="github", purpose="to look",
    )  # fmt: skip
    said = await read(house, call)
    assert said.details == {
        "door": "http", "method": "GET", "purpose": "to look", "service": "github", "scheme": "https",
        "host": "example.com", "port": 443, "path": "/bot{credential}/x",
    }  # fmt: skip
    said.demand_clean()


async def test_what_is_no_method_or_url_leaves_no_trace_on_record(house: House) -> None:
    said = await read(house, call_for("nonsense", "EVIL\r\n"), is_url=False)
    assert (said.details, said.host) == ({"door": "http"}, "")


async def test_a_long_path_is_cut_on_record(house: House) -> None:
    said = await read(house, call_for("https://example.com/" + "a" * 5000))
    assert len(said.details["path"]) == 900


async def test_a_secret_in_any_text_of_a_call_is_taken_out_and_refuses_it(house: House) -> None:
    await house.store(1)
    for changes in ({"run": SECRET}, {"agent": f"x {SECRET}"}, {"purpose": SECRET.encode().hex()}, {"service": SECRET}):
        said = await read(house, call_for("https://example.com/", **changes), is_url=False)
        assert isinstance(said.refusal, SecretHeldError)
        assert "[credential removed]" in str(said)
        assert not any(form in str(said).encode() for form in secret_forms(SECRET.encode()))
    for url in (f"https://example.com/bot{SECRET}/me", f"https://example.com/?key={SECRET}"):
        said = await read(house, call_for(url))
        assert SECRET not in str(said)
        with pytest.raises(SecretHeldError, match="holds a stored secret"):
            said.demand_clean()


async def test_what_could_not_be_looked_through_refuses_and_is_not_written_down(house: House) -> None:
    await house.store(1)
    call = call_for(f"https://example.com/{SECRET}", run=SECRET, service=SECRET)
    said = await read(house, call, characters=10)
    assert (said.run, said.agent, said.details["path"], said.details["service"]) == (UNREAD, "", UNREAD, UNREAD)
    with pytest.raises(Refusal) as caught:
        said.demand_clean()
    assert caught.value.problem.code is ProblemCode.RATE_LIMITED
    # The operator's own test of a credential is not counted.
    own = await read(house, call_for("https://example.com/harmless", door="operator"), characters=10)
    own.demand_clean()


async def test_a_call_with_a_secret_in_plain_leaves_no_secret_in_the_ledger_and_a_suspicious_entry(
    house: House,
) -> None:
    async with serve(answer()) as upstream:
        await house.store(upstream.port)
        base = f"http://127.0.0.1:{upstream.port}"
        pipeline = house.pipeline(upstream.port)
        calls: list[Any] = [
            call_for(f"{base}/{SECRET}", service="github"),
            call_for(f"{base}/?q={SECRET}", service="github"),
            call_for(f"{base}/", service="github", run=SECRET, agent=SECRET, purpose=SECRET),
            call_for(f"{base}/", service=SECRET),
            call_for(f"https://nobody.example/{SECRET.encode().hex()}"),
        ]
        for call in calls:
            with pytest.raises(SecretHeldError):
                await fetch(pipeline, call)
        with pytest.raises(Refusal):
            await fetch(pipeline, call_for("http://user@127.0.0.1/", run=SECRET))
        assert upstream.heads == []
        assert (await fetch(pipeline, call_for(f"{base}/harmless", service="github")))[0] == 200
    entries = await house.entries()
    assert not any(form in str(entries).encode() for form in secret_forms(SECRET.encode()))
    found = [entry["event"] for entry in entries if "[credential removed]" in str(entry)]
    assert found == ["proxy.secret_refused"] * 4 + ["proxy.ssrf_blocked"]
    refused = await house.entries("proxy.secret_refused")
    assert [entry["reason"] for entry in refused] == ["invalid_request"] * 5
    assert set(found) <= SUSPICIOUS


async def test_a_secret_that_is_stored_meanwhile_is_found_in_a_text_that_was_harmless(house: House) -> None:
    async with serve(answer()) as upstream:
        await house.allow(upstream.port)
        pipeline = house.pipeline(upstream.port)
        call = call_for(f"http://127.0.0.1:{upstream.port}/later-a-secret")
        assert (await fetch(pipeline, call))[0] == 200
        await house.vault.store("github", "", (binding_for(1),), "later-a-secret")
        with pytest.raises(SecretHeldError):
            await fetch(pipeline, call)


async def test_the_first_outcome_counts_and_later_ones_change_nothing(house: House) -> None:
    async with serve(answer()) as upstream:
        await house.allow(upstream.port)
        with pytest.raises(Refusal, match="internal"):
            async with house.pipeline(upstream.port).open(call_for(f"http://127.0.0.1:{upstream.port}/")) as exchange:
                exchange.progress.end("ok")
                raise Refusal(ProblemCode.INTERNAL, "Later.", "")
        (_, outcome) = await house.entries("proxy.http_request")
        assert outcome["outcome"] == "ok"


async def test_a_refusal_is_on_record_with_its_code_and_without_the_query(house: House) -> None:
    with pytest.raises(Refusal):
        await fetch(house.pipeline(), call_for("https://a.example/x?token=1", run="run_x", agent="helper"))
    (entry,) = await house.entries("proxy.binding_violation")
    assert entry["details"] == {
        "door": "http", "method": "GET", "scheme": "https", "host": "a.example", "port": 443, "path": "/x",
        "code": "egress_not_allowed",
    }  # fmt: skip
    assert (entry["run"], entry["agent"], entry["outcome"]) == ("run_x", "helper", "refused")
