from __future__ import annotations

import threading
from typing import Any

import anyio
import argon2
import pytest

from mycelos.configuration.environment import ConfigurationError
from mycelos.gateway.identity import passwords
from mycelos.gateway.identity.passwords import PasswordCheck, check_hash, configured_hash, hash_password
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("correct horse")
ARGON2I = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1, type=argon2.Type.I).hash("correct horse")


async def test_the_right_password_passes_and_every_other_fails() -> None:
    check = PasswordCheck(CHEAP)
    assert await check.is_right("correct horse")
    for wrong in ("correct horsf", "correct horse ", "", "Correct horse", "correct hors\u0435", "x" * 1024):
        assert not await check.is_right(wrong)


async def test_only_a_password_that_was_right_is_known() -> None:
    check = PasswordCheck(CHEAP)
    assert not check.is_known("correct horse")
    await check.is_right("wrong")
    assert not check.is_known("wrong")
    await check.is_right("correct horse")
    assert check.is_known("correct horse")
    assert not check.is_known("wrong")
    assert b"correct horse" not in (check._known or b"")


async def test_one_check_runs_at_a_time_and_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, go_on = 0, 0, threading.Event()
    lock = threading.Lock()

    def slow(password_hash: str, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        go_on.wait(20)
        with lock:
            running -= 1
        return False

    monkeypatch.setattr(passwords, "_verify", slow)
    check, refused = PasswordCheck(CHEAP), []

    async def attempt() -> None:
        try:
            assert not await check.is_right("guess")
        except Refusal as refusal:
            refused.append(refusal.problem.code)
            if len(refused) == 3:
                go_on.set()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(12):
                tasks.start_soon(attempt)
    assert most == 1
    assert refused == [ProblemCode.RATE_LIMITED] * 3


def test_a_hash_is_argon2id_with_a_fresh_salt_and_64_mib() -> None:
    first, second = hash_password("secret words"), hash_password("secret words")
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert "secret" not in first


@pytest.mark.parametrize(
    "text", ["", "secret words", "$2b$12$abcdefghijklmnopqrstuv", ARGON2I, CHEAP.replace("m=8", "m=99999999")]
)
def test_what_is_no_usable_hash_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match="MYCELOS_PASSWORD_HASH is not an argon2id hash") as error:
        check_hash(text)
    assert not text or text not in str(error.value)


@pytest.mark.parametrize(
    ("password", "password_hash", "words"),
    [
        ("a", CHEAP, "both set"),
        ("", None, "shorter than 8 characters"),
        ("seven77", None, "shorter than 8 characters"),
        ("x" * 1025, None, "at most 1024 bytes"),
        ("a\tb long", None, "printable"),
        (None, "nonsense", "argon2id"),
    ],
)
def test_a_password_that_cannot_be_used_stops_the_start(password: Any, password_hash: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        configured_hash(password, password_hash)


async def test_a_plain_password_is_kept_as_its_hash() -> None:
    kept = configured_hash("e\u0301 words", None)
    assert kept is not None
    assert await PasswordCheck(kept).is_right("\u00e9 words")
    assert configured_hash(None, None) is None
    assert configured_hash(None, CHEAP) == CHEAP
