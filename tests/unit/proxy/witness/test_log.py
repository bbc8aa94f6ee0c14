from __future__ import annotations

import pytest
from witnessed_log import MemoryLog, numbered

from mycelos.proxy.witness.log import FaultCode, WitnessFault, demand_prefix, read_note

pytestmark = pytest.mark.anyio


async def test_a_ledger_that_begins_with_what_is_remembered_is_taken(anyio_backend: str) -> None:
    log = MemoryLog(numbered(13))
    for size in range(1, 14):
        await demand_prefix(log, log.at(size).encode())


@pytest.mark.parametrize(
    ("log", "code"),
    [
        (MemoryLog(numbered(9)), FaultCode.END_MISSING),
        (MemoryLog(), FaultCode.END_MISSING),
        (MemoryLog(["changed", *numbered(20)]), FaultCode.REWRITTEN),
        (MemoryLog([*numbered(9), "changed"]), FaultCode.REWRITTEN),
        (MemoryLog(numbered(20), origin="ledger.example/other"), FaultCode.UNKNOWN_LOG),
    ],
    ids=["cut", "empty", "rewritten and longer", "rewritten", "another log"],
)
async def test_another_one_is_not_whoever_has_signed_it(log: MemoryLog, code: FaultCode, anyio_backend: str) -> None:
    with pytest.raises(WitnessFault) as fault:
        await demand_prefix(log, MemoryLog(numbered(10)).at(10).encode())
    assert fault.value.code is code


async def test_what_is_no_checkpoint_is_no_agreement(anyio_backend: str) -> None:
    for data in (b"", b"words", b"a\nb\nc\n\n\xe2\x80\x94 a c2lnbg==\n"):
        with pytest.raises(WitnessFault) as fault:
            await demand_prefix(MemoryLog(numbered(3)), data)
        assert fault.value.code is FaultCode.INVALID_ANSWER


def test_a_note_is_read_from_text_and_from_bytes() -> None:
    log = MemoryLog(numbered(3))
    assert read_note(log.at(3)) == read_note(log.at(3).encode())
    assert read_note(log.at(3))[1].size == 3
