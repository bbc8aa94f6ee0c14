import pytest

from mycelos.proxy.passkeys.challenges import LIFETIME_SECONDS, Challenges, Purpose
from mycelos.proxy.passkeys.faults import Fault, PasskeyRefused


def fault(challenges: Challenges, value: bytes, purpose: Purpose, session: str = "") -> Fault:
    with pytest.raises(PasskeyRefused) as refused:
        challenges.take(value, purpose, session)
    return refused.value.fault


def test_a_challenge_is_random_and_taken_once() -> None:
    challenges = Challenges()
    first, second = (challenges.make(Purpose.SIGN_IN) for _ in range(2))
    assert first != second
    assert len(first) == 32
    assert challenges.take(first, Purpose.SIGN_IN).purpose is Purpose.SIGN_IN
    assert fault(challenges, first, Purpose.SIGN_IN) is Fault.CHALLENGE
    assert fault(challenges, bytes(32), Purpose.SIGN_IN) is Fault.CHALLENGE


def test_one_of_another_purpose_or_session_is_refused_and_used_up() -> None:
    challenges = Challenges()
    value = challenges.make(Purpose.ENROL, session="a", label="laptop", passkey_id="passkey_x")
    assert fault(challenges, value, Purpose.ENROL, "b") is Fault.SESSION
    assert fault(challenges, value, Purpose.ENROL, "a") is Fault.CHALLENGE
    value = challenges.make(Purpose.ENROL, session="a")
    assert fault(challenges, value, Purpose.SIGN_IN) is Fault.PURPOSE
    value = challenges.make(Purpose.ENROL, session="a", label="laptop", passkey_id="passkey_x")
    taken = challenges.take(value, Purpose.ENROL, "a")
    assert (taken.label, taken.passkey_id) == ("laptop", "passkey_x")


def test_it_ends_after_five_minutes() -> None:
    now = [0.0]
    challenges = Challenges(lambda: now[0])
    value = challenges.make(Purpose.SIGN_IN)
    now[0] = LIFETIME_SECONDS - 0.1
    assert challenges.take(value, Purpose.SIGN_IN)
    value = challenges.make(Purpose.SIGN_IN)
    now[0] += LIFETIME_SECONDS
    assert fault(challenges, value, Purpose.SIGN_IN) is Fault.CHALLENGE


def test_whoever_asks_without_end_pushes_out_its_own_purpose_alone() -> None:
    challenges = Challenges()
    enrolment = challenges.make(Purpose.ENROL)
    first = challenges.make(Purpose.SIGN_IN)
    for _ in range(64):
        last = challenges.make(Purpose.SIGN_IN)
    assert fault(challenges, first, Purpose.SIGN_IN) is Fault.CHALLENGE
    assert challenges.take(last, Purpose.SIGN_IN)
    assert challenges.take(enrolment, Purpose.ENROL)
