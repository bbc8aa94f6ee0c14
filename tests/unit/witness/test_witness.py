"""The dialogue of C2SP tlog-witness, step by step, and what a witness must never do."""

from __future__ import annotations

from pathlib import Path

import pytest
from witnessed_log import MemoryLog, ServedWitness, numbered

from mycelos.ledger.checkpoint import Checkpoint
from mycelos.ledger.cosignature import cosigned_by, with_lines
from mycelos.ledger.merkle import consistency_proof
from mycelos.ledger.signed_note import parse_note
from mycelos.ledger.submission import SIZE_TYPE, Submission
from mycelos.witness.key import verifies
from mycelos.witness.store import WitnessStore
from mycelos.witness.witness import Answer


def submission(log: MemoryLog, old: int, new: int) -> Submission:
    proof = consistency_proof(old, new, log.node) if 0 < old < new else []
    return Submission(old, tuple(proof), log.at(new).encode())


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(numbered(20))


@pytest.fixture
def served(tmp_path: Path, log: MemoryLog):
    served = ServedWitness(tmp_path, log)
    yield served
    served.store.close()


def ask(served: ServedWitness, asked: Submission) -> Answer:
    return served.witness.add_checkpoint(asked.body())


def test_the_dialogue_of_nine_steps(served: ServedWitness, log: MemoryLog) -> None:
    fork = MemoryLog([*numbered(8), *numbered(12, "other")])
    stranger = MemoryLog(numbered(20), number=2)
    unknown = MemoryLog(numbered(20), origin="ledger.example/unknown")
    steps = [
        (submission(log, 0, 8), 200, b""),
        (submission(log, 0, 12), 409, b"8\n"),  # it knows 8 already
        (submission(log, 8, 12), 200, b""),
        (submission(log, 12, 12), 200, b""),  # a fresh time
        (submission(log, 14, 13), 400, b""),
        (submission(stranger, 12, 16), 403, b""),
        (submission(unknown, 0, 16), 404, b""),
        (Submission(12, (bytes(32),), log.at(16).encode()), 422, b""),
        (submission(fork, 12, 12), 422, b""),  # as many entries, another root
    ]
    for asked, status, size in steps:
        answer = ask(served, asked)
        assert answer.status == status, asked
        assert (answer.media_type == SIZE_TYPE, answer.body if size else b"") == (bool(size), size)
    assert served.store.newest(log.key.name) == log.at(12).encode()


def test_what_it_answers_is_its_cosignature(served: ServedWitness, log: MemoryLog) -> None:
    answer = ask(served, submission(log, 0, 8))
    whole = with_lines(parse_note(log.at(8).encode()), answer.body)
    assert cosigned_by(whole, served.own.public, verifies).at > 1_700_000_000


def test_a_fork_from_an_old_copy_is_refused_and_kept_as_evidence(served: ServedWitness, log: MemoryLog) -> None:
    ask(served, submission(log, 0, 12))
    fork = MemoryLog([*numbered(8), *numbered(12, "other")])
    assert ask(served, submission(fork, 8, 20)) == Answer(409, b"12\n", SIZE_TYPE)
    assert ask(served, submission(fork, 12, 20)).status == 422
    assert served.store.newest(log.key.name) == log.at(12).encode()
    (evidence,) = served.store.key.parent.glob("*.fork")
    assert evidence.read_bytes() == fork.at(20).encode()


def test_a_fork_is_refused_as_one_also_where_its_proof_cannot_be_kept(
    served: ServedWitness, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(served, submission(log, 0, 12))
    fork = MemoryLog([*numbered(8), *numbered(12, "other")])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert ask(served, submission(fork, 12, 20)).status == 422
    assert ask(served, submission(fork, 12, 19)).status == 422
    (evidence,) = served.store.key.parent.glob("*.fork")
    assert evidence.read_bytes() == fork.at(19).encode(), "half a proof is in nobody's way"


def test_two_views_are_never_both_cosigned(served: ServedWitness, log: MemoryLog) -> None:
    other = MemoryLog(numbered(20, "other"))
    assert ask(served, submission(log, 0, 10)).status == 200
    assert [ask(served, submission(other, old, 10)).status for old in (0, 10)] == [409, 422]
    assert ask(served, submission(log, 10, 20)).status == 200


def test_it_remembers_over_a_restart(tmp_path: Path, log: MemoryLog) -> None:
    first = ServedWitness(tmp_path, log)
    ask(first, submission(log, 0, 12))
    first.store.close()
    second = ServedWitness(tmp_path, log)
    assert second.vkey == first.vkey
    assert ask(second, submission(log, 0, 20)) == Answer(409, b"12\n", SIZE_TYPE)
    assert ask(second, submission(log, 12, 20)).status == 200
    second.store.close()


def test_nothing_is_cosigned_that_is_not_on_disk(
    served: ServedWitness, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(served, submission(log, 0, 8))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WitnessStore, "keep", full)
    with pytest.raises(OSError, match="No space"):
        ask(served, submission(log, 8, 12))
    monkeypatch.undo()
    assert ask(served, submission(log, 8, 12)).status == 200


class NoLock:
    """The wall taken away."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def acquire(self, *, blocking: bool) -> bool:
        return True

    def release(self) -> None: ...


def meet(served: ServedWitness, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The statuses of two histories, where the second comes between comparing and keeping the first if it can."""
    fork = submission(MemoryLog([*numbered(8), *numbered(12, "other")]), 8, 20)
    ask(served, submission(log, 0, 8))
    newest, lock, statuses = WitnessStore.newest, served.witness._lock, []

    def newest_and_another_request(store: WitnessStore, origin: str) -> bytes | None:
        found = newest(store, origin)
        monkeypatch.setattr(WitnessStore, "newest", newest)
        if lock.acquire(blocking=False):
            lock.release()
            statuses.append(ask(served, fork).status)
        return found

    monkeypatch.setattr(WitnessStore, "newest", newest_and_another_request)
    statuses.append(ask(served, submission(log, 8, 20)).status)
    return statuses if len(statuses) == 2 else [*statuses, ask(served, fork).status]


def test_nothing_comes_between_comparing_and_keeping(
    served: ServedWitness, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert meet(served, log, monkeypatch) == [200, 409]


def test_without_the_lock_two_histories_are_cosigned(
    served: ServedWitness, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.witness._lock = NoLock()  # type: ignore[assignment]
    assert meet(served, log, monkeypatch) == [200, 200]


@pytest.mark.parametrize("body", [b"", b"old 0\n\n", b"old 0\n\nnonsense", b"\xff" * 100])
def test_what_is_no_submission_is_answered_400(served: ServedWitness, body: bytes) -> None:
    assert served.witness.add_checkpoint(body).status == 400


def test_a_proof_where_nothing_is_to_be_proven_is_refused(served: ServedWitness, log: MemoryLog) -> None:
    assert ask(served, Submission(0, (bytes(32),), log.at(8).encode())).status == 422
    assert ask(served, submission(log, 0, 8)).status == 200
    assert ask(served, Submission(8, (bytes(32),), log.at(8).encode())).status == 422


def test_after_a_rotation_either_key_of_a_log_is_trusted(tmp_path: Path, log: MemoryLog) -> None:
    rotated = MemoryLog(numbered(20), number=3)
    served = ServedWitness(tmp_path, log, rotated)
    assert ask(served, submission(log, 0, 8)).status == 200
    assert ask(served, submission(rotated, 8, 20)).status == 200
    served.store.close()


def test_an_empty_log_has_the_empty_root(served: ServedWitness, log: MemoryLog) -> None:
    assert ask(served, submission(log, 0, 0)).status == 200
    note = str(Checkpoint(log.key.name, 0, bytes(32)).signed([(log.key, log.sign)]))
    assert ask(served, Submission(0, (), note.encode())).status == 422
