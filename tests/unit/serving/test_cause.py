from __future__ import annotations

import asyncio
import errno
from contextlib import nullcontext

import pytest

from mycelos.serving.cause import first_cause, named, without_groups
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio
REFUSAL = Refusal(ProblemCode.AUDIT_UNAVAILABLE, "The ledger is down.", "Wait.")


async def fail(error: Exception, rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)
    raise error


async def beside_tasks(*errors: Exception) -> None:
    """Each is raised in a task of its own, the first one first, two groups deep."""
    async with asyncio.TaskGroup() as outer:
        outer.create_task(asyncio.Event().wait())
        async with asyncio.TaskGroup() as inner:
            for rounds, error in enumerate(errors):
                inner.create_task(fail(error, rounds))


async def test_in_the_place_of_a_group_its_first_error_is_raised() -> None:
    with pytest.raises(Refusal) as raised, without_groups():
        await beside_tasks(REFUSAL, ValueError())
    assert raised.value is REFUSAL
    assert raised.value.__suppress_context__
    # Without it nobody who expects a refusal meets one.
    with pytest.raises(ExceptionGroup), nullcontext():
        await beside_tasks(REFUSAL)


@pytest.mark.parametrize("error", [REFUSAL, KeyboardInterrupt(), asyncio.CancelledError()])
def test_what_is_no_group_is_raised_as_it_is(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, without_groups():
        raise error
    assert raised.value is error
    assert first_cause(error) is error


async def test_a_cause_is_named_by_type_system_error_and_place_and_never_by_its_text() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await beside_tasks(OSError(errno.EROFS, "hunter2", "/hunter2"), ValueError("hunter2"))
    line = fail.__code__.co_firstlineno + 3
    assert named(raised.value) == f"OSError EROFS at {__name__}:{line}"
    with pytest.raises(ValueError, match="hunter2") as alone:
        await fail(ValueError("hunter2"), 0)
    assert named(alone.value) == f"ValueError at {__name__}:{line}"


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert named(OSError("hunter2")) == "OSError at an unknown place"
