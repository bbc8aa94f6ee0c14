from __future__ import annotations

from typing import Any

import pytest
from egress_house import SECRET, House, binding_for

from mycelos.ledger.entry import Draft, Phase, make_draft
from mycelos.ledger.events import Event
from mycelos.proxy.stored_secrets import CLAIMED_CHARACTERS, QUESTIONS, StoredSecrets
from mycelos.proxy.vault.records import park_all
from mycelos.wire.binding import Basic
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.operator import SECRET_MINIMUM
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.secret_forms import secret_forms

pytestmark = pytest.mark.anyio


class Counting:
    """The vault, and how often a secret was opened."""

    def __init__(self, vault: Any) -> None:
        self._vault = vault
        self.opened = 0

    def list(self) -> Any:
        return self._vault.list()

    def every_secret(self) -> Any:
        self.opened += 1
        return self._vault.every_secret()


def looking(vault: Any, **more: Any) -> StoredSecrets:
    return StoredSecrets(vault, **({"characters": CLAIMED_CHARACTERS} | more))


def draft(**about: Any) -> Draft:
    return make_draft(Event.RUN_STARTED, Phase.FACT, tenant=DEFAULT_TENANT, **about)


@pytest.fixture
async def vault(house: House) -> Counting:
    await house.vault.store("github", "", (binding_for(1),), SECRET)
    return Counting(house.vault)


async def test_the_whole_value_in_any_spelling_is_found_and_a_part_of_it_is_not(vault: Counting) -> None:
    secrets = looking(vault)
    for form in secret_forms(SECRET.encode()):
        text = f"my key is {form.decode('latin-1')}."
        assert (await secrets.clean({"a": text})).held, form
    assert not await secrets.answer(f"my key is {SECRET[:-1]}.")
    assert not await secrets.answer("")


async def test_without_a_stored_secret_nothing_holds_one(house: House) -> None:
    assert not await looking(house.vault).answer(SECRET)


async def test_questions_are_few_in_a_minute_and_each_counts(vault: Counting) -> None:
    now = 0.0
    secrets = looking(vault, monotonic=lambda: now)
    for _ in range(QUESTIONS):
        await secrets.answer("x")
    with pytest.raises(Refusal) as caught:
        await secrets.answer("x")
    assert caught.value.problem.code is ProblemCode.RATE_LIMITED
    now = 60.0
    assert await secrets.answer(SECRET)


async def test_messages_and_entries_share_one_budget_of_characters(vault: Counting) -> None:
    now = 0.0
    secrets = looking(vault, characters=1000, monotonic=lambda: now)
    assert not await secrets.answer("x" * 500)
    entry = draft(subject="y" * 500)
    assert not await secrets.is_in_draft(entry)
    for look in (secrets.answer("z"), secrets.is_in_draft(draft(subject="another name"))):
        with pytest.raises(Refusal) as caught:
            await look
        assert caught.value.problem.code is ProblemCode.RATE_LIMITED
        assert "mycelos db audit" in (caught.value.problem.next or "")
    opened = vault.opened
    # What was seen costs nothing.
    assert not await secrets.is_in_draft(entry)
    assert vault.opened == opened
    now = 60.0
    assert await secrets.answer(SECRET)


async def test_a_guess_that_was_right_counts_each_time(vault: Counting) -> None:
    secrets = looking(vault, characters=len(SECRET))
    assert await secrets.is_in_draft(draft(subject=SECRET))
    with pytest.raises(Refusal):
        await secrets.is_in_draft(draft(subject=SECRET))


async def test_what_is_not_counted_meets_no_budget(vault: Counting) -> None:
    secrets = looking(vault, characters=0)
    assert (await secrets.clean({"path": f"/{SECRET}"}, counted=False)).held


async def test_each_text_of_an_entry_is_looked_through(vault: Counting) -> None:
    secrets = looking(vault)
    for fields in (
        {"principal": SECRET},
        {"subject": SECRET},
        {"reason": f"x {SECRET}"},
        {"details": {"model": SECRET}},
        {"details": {"tools": ["x", SECRET]}},
    ):
        assert await secrets.is_in_draft(draft(**fields)), fields
    assert not await secrets.is_in_draft(draft(details={"duration_ms": 1, "model": "a.harmless.model"}))


async def test_each_text_is_given_back_with_a_mark_where_the_secret_was(vault: Counting) -> None:
    texts = {"path": f"/bot{SECRET}/me", "run": "a harmless run", "agent": "short", "purpose": SECRET.encode().hex()}
    found = await looking(vault).clean(texts)
    assert found.held
    assert found.texts == texts | {"path": "/bot[credential removed]/me", "purpose": "[credential removed]"}


@pytest.mark.parametrize(
    "secret",
    ["пароль", "🔑🔑", "48210937", "sk_01h2xcejqtf2nbrexx3vqjhp41", "run_91h2xcejqtf2nbrexx3vqjhp41", "漢漢漢"],
)
async def test_bytes_count_not_characters_and_only_known_identifiers_are_passed_over(house: House, secret: str) -> None:
    assert len(secret.encode()) >= SECRET_MINIMUM
    await house.vault.store("github", "", (binding_for(1, inject=Basic("admin")),), secret)
    secrets = looking(house.vault)
    assert await secrets.is_in_draft(draft(subject=secret))
    assert await secrets.is_in_draft(draft(details={"tools": [secret]}))
    assert await secrets.answer(secret)


async def test_a_secret_of_digits_is_found_in_a_number(house: House) -> None:
    await house.vault.store("github", "", (binding_for(1),), "48210937")
    assert await looking(house.vault).is_in_draft(draft(details={"duration_ms": 48210937}))
    assert not await looking(house.vault).is_in_draft(draft(details={"duration_ms": 48210938, "resumed": True}))


async def test_what_was_looked_through_is_looked_through_again_where_a_secret_is_new(
    house: House, vault: Counting
) -> None:
    secrets = looking(vault)
    entry = draft(subject="a-name-that-is-a-secret", run="run_01h2xcejqtf2nbrexx3vqjhp41")
    assert not await secrets.is_in_draft(entry)
    assert not await secrets.is_in_draft(entry)
    assert vault.opened == 1
    await house.vault.rotate("github", "a-name-that-is-a-secret")
    assert await secrets.is_in_draft(entry)
    assert await secrets.is_in_draft(entry)


async def test_identifiers_digests_and_short_words_cost_nothing(vault: Counting) -> None:
    entry = draft(run="run_01h2xcejqtf2nbrexx3vqjhp41", args_mac="0" * 64, outcome="ok", subject="пар")
    assert not await looking(vault).is_in_draft(entry)
    assert vault.opened == 0


async def test_what_is_remembered_of_texts_is_bounded(vault: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mycelos.proxy.stored_secrets._REMEMBERED_CHARACTERS", 40)
    secrets = looking(vault)
    for number in range(9):
        await secrets.is_in_draft(draft(subject=f"a text {number:03}"))
        assert sum(map(len, secrets._harmless)) == secrets._remembered <= 40
    assert vault.opened == 9
    assert secrets._harmless


async def test_a_vault_that_does_not_open_is_a_refusal(vault: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "x", "y")

    monkeypatch.setattr(vault, "every_secret", refuse)
    with pytest.raises(Refusal):
        await looking(vault).answer("anything")
    with pytest.raises(Refusal):
        await looking(vault).is_in_draft(draft(subject="anything"))


async def test_the_secret_of_a_parked_credential_is_looked_for_too(house: House, vault: Counting) -> None:
    """A restore parks them all: the gateway must be able to record, and the secret must stay out of the record."""
    stored = house.vault
    stored.database.run_now(lambda connection: park_all(connection, stored.keys, "2026-11-26T12:00:00Z"))
    stored.adopt(*stored.database.run_now(stored.read))
    with pytest.raises(Refusal):
        stored.find("github")
    secrets = looking(vault)
    assert not await secrets.is_in_draft(draft(subject="harmless enough"))
    assert await secrets.answer(SECRET)
    assert await secrets.is_in_draft(draft(subject=SECRET))
