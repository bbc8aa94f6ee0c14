from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from software_authenticator import PRESENT, SoftwareAuthenticator, decode, encode

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.passkeys import ceremony, store
from mycelos.proxy.passkeys.ceremony import RelyingParty
from mycelos.proxy.passkeys.challenges import LIFETIME_SECONDS
from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused
from mycelos.proxy.passkeys.store import PASSKEYS_LIMIT, Passkey, Passkeys
from mycelos.proxy.tables import PASSKEYS
from mycelos.proxy.vault.store import Vault
from mycelos.wire.passkeys import Assertion, Registration
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

SESSION, OTHER_SESSION = "a" * 64, "b" * 64
DIGEST, OTHER_DIGEST = "1f" * 32, "2f" * 32
VAULT_PAGE = RelyingParty.of("http://localhost:9101")


@pytest.fixture
def vault(layout: DataLayout) -> Iterator[Vault]:
    opened = Vault.open(layout, bytes(32))
    yield opened
    opened.close()


@pytest.fixture
def clock() -> list[float]:
    return [1000.0]


@pytest.fixture
def passkeys(vault: Vault, clock: list[float]) -> Passkeys:
    return Passkeys(vault.database, vault.keys, VAULT_PAGE, monotonic=lambda: clock[0])


def reopened(vault: Vault) -> Passkeys:
    return Passkeys.open(vault.database, vault.keys, VAULT_PAGE)


def registration(answer: dict[str, Any]) -> Registration:
    return msgspec.convert(answer, Registration)


def assertion(answer: dict[str, Any]) -> Assertion:
    return msgspec.convert(answer, Assertion)


async def enrol(passkeys: Passkeys, key: SoftwareAuthenticator, label: str = "laptop", **wrong: Any) -> Passkey:
    answer = key.create(passkeys.begin_enrolment(SESSION, label), **wrong)
    return await passkeys.enrol(SESSION, registration(answer))


async def sign_in(passkeys: Passkeys, key: SoftwareAuthenticator, **wrong: Any) -> Passkey:
    return await passkeys.sign_in(assertion(key.get(passkeys.begin_sign_in(), **wrong)))


async def fault_of(attempt: Awaitable[object]) -> Fault:
    with pytest.raises(PasskeyRefused) as refused:
        await attempt
    return refused.value.fault


async def test_a_passkey_is_enrolled_signs_in_and_is_removed_over_a_restart(passkeys: Passkeys, vault: Vault) -> None:
    key = SoftwareAuthenticator()
    enrolled = await enrol(passkeys, key)
    assert (enrolled.label, enrolled.last_used_at) == ("laptop", None)
    used = await sign_in(passkeys, key)
    assert (used.id, used.sign_count) == (enrolled.id, key.count)
    assert used.last_used_at is not None
    later = reopened(vault)
    assert later.list() == [used]
    assert (await sign_in(later, key)).id == enrolled.id
    assert (await later.remove(enrolled.id)).id == enrolled.id
    assert later.list() == reopened(vault).list() == []
    assert await fault_of(sign_in(later, key)) is Fault.UNKNOWN_KEY
    with pytest.raises(Refusal) as refused:
        await later.remove(enrolled.id)
    assert refused.value.problem.code is ProblemCode.NOT_FOUND


WRONG_ANSWERS = [
    ({"origin": "http://localhost:9100"}, Fault.ORIGIN),
    ({"origin": "http://127.0.0.1:9101"}, Fault.ORIGIN),
    ({"origin": "https://localhost:9101"}, Fault.ORIGIN),
    ({"origin": "http://localhost:9101.attacker.example"}, Fault.ORIGIN),
    ({"cross_origin": True}, Fault.ORIGIN),
    ({"relying_party": "attacker.example"}, Fault.RELYING_PARTY),
    ({"challenge": encode(bytes(32))}, Fault.CHALLENGE),
    ({"type": "webauthn.something"}, Fault.CEREMONY),
    ({"flags": PRESENT}, Fault.VERIFICATION),
    ({"flags": 0x04}, Fault.PRESENCE),
]


@pytest.mark.parametrize(("wrong", "fault"), [*WRONG_ANSWERS, ({"type": "webauthn.get"}, Fault.CEREMONY)])
async def test_a_wrong_enrolment_is_refused_and_nothing_is_kept(
    passkeys: Passkeys, vault: Vault, wrong: dict[str, Any], fault: Fault
) -> None:
    assert await fault_of(enrol(passkeys, SoftwareAuthenticator(), **wrong)) is fault
    assert passkeys.list() == reopened(vault).list() == []


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        *WRONG_ANSWERS,
        ({"type": "webauthn.create"}, Fault.CEREMONY),
        ({"signature": b"x" * 70}, Fault.SIGNATURE),
        ({"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"}, Fault.SIGNATURE),
        ({"credential_id": b"another"}, Fault.UNKNOWN_KEY),
        ({"handle": encode(b"passkey_other")}, Fault.UNKNOWN_KEY),
        ({"count": 1}, Fault.COUNTER),
        ({"count": 0}, Fault.COUNTER),
    ],
)
async def test_a_wrong_sign_in_is_refused_and_moves_nothing(
    passkeys: Passkeys, vault: Vault, wrong: dict[str, Any], fault: Fault
) -> None:
    key = SoftwareAuthenticator()
    before = await enrol(passkeys, key)
    assert await fault_of(sign_in(passkeys, key, **wrong)) is fault
    assert passkeys.list() == reopened(vault).list() == [before]
    assert (await sign_in(passkeys, key)).id == before.id


async def test_an_answer_is_good_once(passkeys: Passkeys) -> None:
    key = SoftwareAuthenticator(counts=False)
    made = registration(key.create(passkeys.begin_enrolment(SESSION, "laptop")))
    await passkeys.enrol(SESSION, made)
    assert await fault_of(passkeys.enrol(SESSION, made)) is Fault.CHALLENGE
    # With a key that does not count, nothing but the challenge tells a replay.
    answer = assertion(key.get(passkeys.begin_sign_in()))
    await passkeys.sign_in(answer)
    assert await fault_of(passkeys.sign_in(answer)) is Fault.CHALLENGE


async def test_where_challenges_stay_good_a_replayed_answer_signs_in(
    passkeys: Passkeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes the wall away and sees the attack succeed."""
    key = SoftwareAuthenticator(counts=False)
    await enrol(passkeys, key)
    answer = assertion(key.get(passkeys.begin_sign_in()))
    monkeypatch.setattr("mycelos.proxy.passkeys.challenges.Challenges.take", lambda *_: None)
    assert (await passkeys.sign_in(answer)).id == (await passkeys.sign_in(answer)).id


@pytest.mark.parametrize(
    ("name", "wall", "wrong"),
    [
        ("_check_client_data", lambda *_: None, {"origin": "http://localhost:9100"}),
        ("_check_authenticator_data", lambda *_: None, {"relying_party": "attacker.example"}),
        ("_check_authenticator_data", lambda *_: None, {"flags": PRESENT}),
        ("_verifies", lambda *_: True, {"signature": b"x"}),
        ("advances", lambda *_: True, {"count": 1}),
    ],
)
async def test_without_its_check_a_wrong_sign_in_succeeds(
    passkeys: Passkeys,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    wall: Callable[..., object],
    wrong: dict[str, Any],
) -> None:
    key = SoftwareAuthenticator()
    enrolled = await enrol(passkeys, key)
    monkeypatch.setattr(ceremony, name, wall)
    assert (await sign_in(passkeys, key, **wrong)).id == enrolled.id


async def test_a_challenge_is_good_for_one_purpose(passkeys: Passkeys) -> None:
    key = SoftwareAuthenticator()
    await enrol(passkeys, key)
    for_enrolment = passkeys.begin_enrolment(SESSION, "other")
    as_request = {"rpId": "localhost", "challenge": for_enrolment["challenge"]}
    assert await fault_of(passkeys.sign_in(assertion(key.get(as_request)))) is Fault.PURPOSE
    for_sign_in = {**for_enrolment, "challenge": passkeys.begin_sign_in()["challenge"]}
    made = registration(SoftwareAuthenticator(b"new").create(for_sign_in))
    assert await fault_of(passkeys.enrol(SESSION, made)) is Fault.PURPOSE
    key.handle = encode(passkeys.list()[0].id.encode())
    for_approval = key.get(passkeys.begin_approval(DIGEST))
    assert await fault_of(passkeys.sign_in(assertion(for_approval))) is Fault.CHALLENGE
    for_sign_in = key.get(passkeys.begin_sign_in())
    assert await fault_of(passkeys.approve(for_sign_in, DIGEST)) is Fault.CHALLENGE


async def test_an_approval_is_signed_for_one_request_alone(passkeys: Passkeys) -> None:
    key = SoftwareAuthenticator()
    enrolled = await enrol(passkeys, key)
    options = passkeys.begin_approval(DIGEST)
    assert decode(options["challenge"]).hex() == DIGEST
    assert options["allowCredentials"] == [{"type": "public-key", "id": encode(key.credential_id)}]
    signed = key.get(options)
    assert await fault_of(passkeys.approve(signed, OTHER_DIGEST)) is Fault.CHALLENGE
    assert (await passkeys.approve(signed, DIGEST)).id == enrolled.id
    # A key that counts cannot say the same twice; for one that does not, the request itself is decided once.
    assert await fault_of(passkeys.approve(signed, DIGEST)) is Fault.COUNTER
    assert await fault_of(passkeys.approve({"id": "x"}, DIGEST)) is Fault.MALFORMED
    assert await fault_of(passkeys.approve({**signed, "id": "é"}, DIGEST)) is Fault.MALFORMED


async def test_once_a_passkey_is_enrolled_nothing_is_approved_without_one(passkeys: Passkeys) -> None:
    assert await passkeys.judge(None, DIGEST) == ""
    key = SoftwareAuthenticator()
    enrolled = await enrol(passkeys, key)
    assert await fault_of(passkeys.judge(None, DIGEST)) is Fault.MISSING
    assert await passkeys.judge(key.get(passkeys.begin_approval(DIGEST)), DIGEST) == enrolled.id
    await passkeys.remove(enrolled.id)
    assert await passkeys.judge(None, DIGEST) == ""
    assert await fault_of(passkeys.judge(key.get(passkeys.begin_approval(DIGEST)), DIGEST)) is Fault.UNKNOWN_KEY


async def test_an_enrolment_belongs_to_the_session_that_began_it(passkeys: Passkeys) -> None:
    made = registration(SoftwareAuthenticator().create(passkeys.begin_enrolment(SESSION, "laptop")))
    assert await fault_of(passkeys.enrol(OTHER_SESSION, made)) is Fault.SESSION
    assert await fault_of(passkeys.enrol(SESSION, made)) is Fault.CHALLENGE


async def test_a_challenge_ends_after_five_minutes(passkeys: Passkeys, clock: list[float]) -> None:
    key = SoftwareAuthenticator()
    await enrol(passkeys, key)
    late = passkeys.begin_sign_in()
    clock[0] += LIFETIME_SECONDS
    assert await fault_of(passkeys.sign_in(assertion(key.get(late)))) is Fault.CHALLENGE


async def test_a_passkey_is_enrolled_once_and_there_is_a_limit(
    passkeys: Passkeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SoftwareAuthenticator()
    await enrol(passkeys, key)
    options = passkeys.begin_enrolment(SESSION, "again")
    assert options["excludeCredentials"] == [{"type": "public-key", "id": encode(key.credential_id)}]
    with pytest.raises(Refusal) as refused:
        await passkeys.enrol(SESSION, registration(key.create(options)))
    assert refused.value.problem.code is ProblemCode.CONFLICT
    monkeypatch.setattr(store, "PASSKEYS_LIMIT", 1)
    with pytest.raises(Refusal) as refused:
        passkeys.begin_enrolment(SESSION, "one more")
    assert "Remove one" in refused.value.problem.next
    assert PASSKEYS_LIMIT == 32


async def test_a_key_that_does_not_count_signs_in_each_time(passkeys: Passkeys) -> None:
    key = SoftwareAuthenticator(counts=False)
    await enrol(passkeys, key)
    for _ in range(3):
        assert (await sign_in(passkeys, key)).sign_count == 0


async def test_two_copies_of_a_key_are_told_by_their_count(passkeys: Passkeys) -> None:
    key = SoftwareAuthenticator()
    await enrol(passkeys, key)
    clone_count = key.count + 1
    await sign_in(passkeys, key)
    assert await fault_of(sign_in(passkeys, key, count=clone_count)) is Fault.COUNTER


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": b"\xa0"}, {"credential_id": b"other"}, {"sign_count": 0}, {"label": "other"},
        {"last_used_at": "2020-01-01T00:00:00Z"}, {"row_mac": bytes(32)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
async def test_a_row_that_was_altered_outside_signs_nobody_in(
    passkeys: Passkeys, vault: Vault, change: dict[str, Any]
) -> None:
    key = SoftwareAuthenticator()
    await enrol(passkeys, key)
    await vault.database.run(lambda connection: connection.execute(sa.update(PASSKEYS).values(**change)))
    later = reopened(vault)
    assert later.list() == []
    assert await fault_of(sign_in(later, key)) is Fault.UNKNOWN_KEY


async def test_a_row_that_somebody_planted_is_not_believed(passkeys: Passkeys, vault: Vault) -> None:
    thief = SoftwareAuthenticator(b"thief")
    real = await enrol(passkeys, thief)
    planted = replace(real, id="passkey_01h2xcejqtf2nbrexx3vqjhp41", credential_id=b"planted")
    columns = {**store._stored(planted, store._columns(planted, vault.keys.kid)), "row_mac": bytes(32)}
    await vault.database.run(lambda connection: connection.execute(PASSKEYS.insert().values(**columns)))
    assert [kept.id for kept in reopened(vault).list()] == [real.id]


async def test_where_the_disk_refuses_nobody_is_signed_in_and_a_removed_key_stays_out(
    passkeys: Passkeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = SoftwareAuthenticator()
    enrolled = await enrol(passkeys, key)

    async def fail(*_arguments: object) -> None:
        raise Refusal(ProblemCode.VAULT_UNAVAILABLE, "The disk is full.", "Free some space.")

    with monkeypatch.context() as patch:
        patch.setattr("mycelos.proxy.database.Database.run", fail)
        for attempt in (sign_in(passkeys, key), passkeys.remove(enrolled.id)):
            with pytest.raises(Refusal) as refused:
                await attempt
            assert refused.value.problem.code is ProblemCode.VAULT_UNAVAILABLE
    assert await fault_of(sign_in(passkeys, key)) is Fault.UNKNOWN_KEY
