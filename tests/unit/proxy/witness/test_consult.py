"""Whoever can write everything in the data folder and has the signing key is found by whoever else remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
from egress_house import serve
from witnessed_log import MemoryLog, ServedWitness, numbered, opened_post, serving

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.configuration.witness import WitnessSettings
from mycelos.ledger.merkle import ProofError
from mycelos.proxy.egress.post import GuardedPost
from mycelos.proxy.egress.url import parse_url
from mycelos.proxy.witness.consult import Word, consult, post_of
from mycelos.proxy.witness.file_witness import FileWitness
from mycelos.proxy.witness.record_file import append
from mycelos.proxy.witness.remembered import witnessed
from mycelos.proxy.witness.url_witness import UrlWitness
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio

LOG = MemoryLog(numbered(10))
ATTACKS = {
    "rewritten": MemoryLog(numbered(10, "rewritten")),
    "rewritten and longer": MemoryLog(numbered(30, "rewritten")),
    "fork of an old copy": MemoryLog([*numbered(8), *numbered(12, "forked")]),
    "cut": MemoryLog(numbered(8)),
    "one entry changed": MemoryLog([*numbered(4), "changed", *numbered(10)[5:]]),
    "one entry left out": MemoryLog([*numbered(4), *numbered(10)[5:]]),
}


@pytest.fixture(autouse=True)
def in_asyncio(anyio_backend: str) -> None:
    """These tests are about one event loop."""


async def ask(
    settings: WitnessSettings, log: MemoryLog, post: GuardedPost, walked: str | None = None
) -> tuple[Word, ...]:
    return await consult(settings, witnessed(settings, None), log, walked or log.checkpoint or "", post)


def url_of(served: ServedWitness) -> WitnessSettings:
    return WitnessSettings(url=str(served.url), key=served.vkey)


@pytest.mark.parametrize("attack", ATTACKS)
async def test_all_rewritten_with_the_key_is_found_by_the_witness(tmp_path: Path, attack: str) -> None:
    async with serving(tmp_path, LOG) as served:
        await UrlWitness(served.url, served.own.public, LOG, served.post).give()
        assert [(word.agrees, word.size) for word in await ask(url_of(served), LOG, served.post)] == [(True, 10)]
        assert [word.agrees for word in await ask(url_of(served), ATTACKS[attack], served.post)] == [False]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_and_by_its_file_where_newer_checkpoints_were_appended_since(tmp_path: Path, attack: str) -> None:
    settings = WitnessSettings(file=tmp_path / "notes")
    await FileWitness(tmp_path / "notes", LOG).give()
    for log, agrees in ((ATTACKS[attack], False), (MemoryLog([*numbered(10), "more"]), True)):
        append(tmp_path / "notes", log.checkpoint)
        (word,) = await ask(settings, log, opened_post(1))
        assert word.agrees is agrees
        (tmp_path / "notes").unlink()
        await FileWitness(tmp_path / "notes", LOG).give()


@pytest.mark.parametrize("attack", ATTACKS)
async def test_without_a_witness_nobody_notices(tmp_path: Path, attack: str) -> None:
    async with serving(tmp_path, LOG) as served:
        # Nothing was given to it: the wall is not there.
        assert [word.agrees for word in await ask(url_of(served), ATTACKS[attack], served.post)] == [True]
    assert await ask(WitnessSettings(), ATTACKS[attack], served.post) == ()
    assert await ask(WitnessSettings(file=tmp_path / "none"), ATTACKS[attack], served.post) == ()


async def test_what_was_walked_is_what_is_shown_to_the_witness(tmp_path: Path) -> None:
    changed = MemoryLog(numbered(10, "rewritten"))
    async with serving(tmp_path, LOG) as served:
        # The thief shows the witness the true checkpoint, and rewrites what is walked.
        (word,) = await ask(url_of(served), LOG, served.post, changed.checkpoint)
        assert word.agrees is False
        (word,) = await ask(url_of(served), LOG, served.post, LOG.at(7))
        assert (word.agrees, word.size) == (True, 10)


async def test_of_two_views_a_witness_agrees_with_one(tmp_path: Path) -> None:
    one, other = (MemoryLog([*numbered(10), end]) for end in ("an end", "another end"))
    async with serving(tmp_path, LOG) as served:
        told = [(await ask(url_of(served), view, served.post))[0].agrees for view in (LOG, one, other, one)]
    assert told == [True, True, False, True]


async def test_one_that_does_not_know_the_log_or_is_away_cannot_tell(tmp_path: Path) -> None:
    swapped = MemoryLog(numbered(10), number=2, origin="ledger.example/swapped")
    async with serving(tmp_path, LOG) as served:
        (word,) = await ask(url_of(served), swapped, served.post)
        assert (word.agrees, "does not know this log" in word.reason) == (None, True)
    (word,) = await ask(url_of(served), LOG, served.post)
    assert word.agrees is None


async def test_a_ledger_that_is_shorter_than_its_own_checkpoint_does_not_agree(tmp_path: Path) -> None:
    class Short(MemoryLog):
        async def consistency(self, old: int, new: int) -> list[bytes]:
            message = f"the ledger has 3 entries, not {new}"
            raise ProofError(message)

    async with serving(tmp_path, LOG) as served:
        await UrlWitness(served.url, served.own.public, MemoryLog(numbered(4)), served.post).give()
        (word,) = await ask(url_of(served), Short(numbered(10)), served.post)
    assert (word.agrees, "shorter than its checkpoint" in word.reason) == (False, True)


async def test_a_file_of_another_log_does_not_agree(tmp_path: Path) -> None:
    swapped = MemoryLog(numbered(10), number=2, origin="ledger.example/swapped")
    for log in (LOG, swapped):
        await FileWitness(tmp_path / "notes", log).give()
    (word,) = await ask(WitnessSettings(file=tmp_path / "notes"), swapped, opened_post(1))
    assert word.agrees is False


async def test_without_a_key_and_without_tls_its_yes_counts_for_nothing_and_its_no_does(tmp_path: Path) -> None:
    async with serving(tmp_path, LOG) as served:
        settings = WitnessSettings(url=str(served.url))
        (word,) = await ask(settings, LOG, served.post)
        assert (word.agrees, "witness.key in operator.toml" in word.reason) == (None, True)
        (word,) = await ask(settings, ATTACKS["rewritten"], served.post)
        assert word.agrees is False
        (word,) = await ask(settings, MemoryLog(), served.post)
        assert (word.agrees, word.reason) == (None, "the ledger has no checkpoint")


async def test_the_command_line_goes_out_by_the_proxys_own_guard(tmp_path: Path) -> None:
    async with serve() as upstream:
        url = parse_url(f"http://127.0.0.1:{upstream.port}/")
        opened = {"MYCELOS_DATA_DIR": str(tmp_path), "MYCELOS_EGRESS_OPEN": f"127.0.0.1:{upstream.port}"}
        assert (await (await post_of(read_environment(opened)))(url, b"")).status == 200
        closed = await post_of(read_environment({"MYCELOS_DATA_DIR": str(tmp_path)}))
        with pytest.raises(Refusal):
            await closed(url, b"")
    with pytest.raises(ConfigurationError, match="MYCELOS_EGRESS_OPEN"):
        await post_of(read_environment({"MYCELOS_EGRESS_OPEN": "169.254.169.254:80"}))
