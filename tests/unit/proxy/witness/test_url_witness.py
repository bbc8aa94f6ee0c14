"""The client's side of the dialogue, against our witness's server and against hostile ones, over real sockets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from egress_house import answer, serve
from witnessed_log import MemoryLog, ServedWitness, numbered, opened_post, serving

from mycelos.configuration.environment import ConfigurationError
from mycelos.ledger.cosignature import CosignerKey, cosign, cosigned_by, with_lines
from mycelos.ledger.signed_note import parse_note
from mycelos.ledger.submission import parse_submission
from mycelos.proxy.egress.url import parse_url
from mycelos.proxy.vault.signing import verifies
from mycelos.proxy.witness import url_witness
from mycelos.proxy.witness.log import FaultCode, WitnessFault
from mycelos.proxy.witness.url_witness import Taken, UrlWitness, add_checkpoint_url, known_size, parse_witness

pytestmark = pytest.mark.anyio

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes([9]) * 32)
KEY = CosignerKey("witness.example/w1", PRIVATE.public_key().public_bytes_raw())


@pytest.fixture(autouse=True)
def in_asyncio(anyio_backend: str) -> None:
    """These tests are about one event loop."""


def client(served: ServedWitness, log: MemoryLog, kept: list[Taken] | None = None) -> UrlWitness:
    async def keep(taken: Taken) -> None:
        if kept is not None:
            kept.append(taken)

    return UrlWitness(served.url, served.own.public, log, served.post, keep)


async def test_each_new_checkpoint_is_cosigned_and_handed_on(tmp_path: Path) -> None:
    log, kept = MemoryLog(), []
    async with serving(tmp_path, log) as served:
        witness = client(served, log, kept)
        assert await witness.give() is None
        for size in range(1, 20):
            log.append(f"entry {size}")
            assert await witness.give() == size
    assert [taken.size for taken in kept] == list(range(1, 20))
    assert all(cosigned_by(taken.note, served.own.public, verifies).at for taken in kept)


async def test_a_new_client_learns_the_size_and_goes_on_from_there(tmp_path: Path) -> None:
    log = MemoryLog(numbered(7))
    async with serving(tmp_path, log) as served:
        assert await client(served, log).give() == 7
        log.append(*numbered(6, "more"))
        assert await client(served, log).give() == 13
        assert await client(served, log).give() == 13


async def test_one_that_was_shown_more_by_somebody_else_is_caught_up_with(tmp_path: Path) -> None:
    log = MemoryLog(numbered(7))
    async with serving(tmp_path, log) as served:
        first = client(served, log)
        await first.give()
        log.append(*numbered(6, "more"))
        await client(served, log).give()
        log.append("and one")
        assert await first.give() == 14


async def test_one_that_is_shown_a_newer_one_meanwhile_raises_no_alarm(tmp_path: Path) -> None:
    log = MemoryLog(numbered(7))
    async with serving(tmp_path, log) as served:
        witness = client(served, log)

        async def late(url, body):
            log.append("meanwhile")
            await client(served, log).give()
            witness._post = served.post
            return await served.post(url, body)

        witness._post = late
        assert await witness.give() == 8


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (MemoryLog(numbered(10, "rewritten")), FaultCode.REWRITTEN),
        (MemoryLog(numbered(30, "rewritten")), FaultCode.REWRITTEN),
        (MemoryLog([*numbered(8), *numbered(12, "forked")]), FaultCode.REWRITTEN),
        (MemoryLog(numbered(8)), FaultCode.END_MISSING),
        (MemoryLog(numbered(20), number=2), FaultCode.UNTRUSTED_KEY),
        (MemoryLog(numbered(20), number=2, origin="ledger.example/swapped"), FaultCode.UNKNOWN_LOG),
    ],
    ids=["rewritten", "rewritten and longer", "fork of an old copy", "cut", "key swapped", "key and origin swapped"],
)
async def test_the_attacks_with_the_key_are_refused(tmp_path: Path, changed: MemoryLog, code: FaultCode) -> None:
    log = MemoryLog(numbered(10))
    async with serving(tmp_path, log) as served:
        await client(served, log).give()
        with pytest.raises(WitnessFault) as fault:
            await client(served, changed).give()
        assert fault.value.code is code
        # What is true goes on.
        log.append("one more")
        assert await client(served, log).give() == 11


async def test_a_witness_that_has_forgotten_is_found_by_who_knows_what_it_had_cosigned(tmp_path: Path) -> None:
    log, changed, kept = MemoryLog(numbered(10)), MemoryLog(numbered(12, "rewritten")), []
    async with serving(tmp_path, log) as served:
        first = client(served, log, kept)
        await first.give()
        served.store._path(log.key.name, "note").unlink()
        known = known_size(str(kept[-1].note).encode(), served.own.public)
        later = UrlWitness(served.url, served.own.public, changed, served.post, known=known)
        log.append("one more")
        for witness in (first, later):
            with pytest.raises(WitnessFault, match="it had cosigned 10 entries and names 0 now") as fault:
                await witness.give()
            assert fault.value.code is FaultCode.FORGOTTEN
        # Who does not know it has the rewritten one cosigned.
        assert await client(served, changed).give() == 12


def test_what_was_cosigned_counts_for_the_key_that_cosigned_it_alone() -> None:
    log = MemoryLog(numbered(5))
    note = parse_note(log.at(5).encode())
    kept = str(with_lines(note, f"{cosign(note.text, KEY, 1, PRIVATE.sign)}\n".encode())).encode()
    assert known_size(kept, KEY) == 5
    other = CosignerKey("witness.example/w2", KEY.public_key)
    assert [known_size(*each) for each in ((kept, other), (kept, None), (None, KEY), (b"words", KEY))] == [0] * 4
    assert known_size(log.at(5).encode(), KEY) == 0


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (answer(b""), FaultCode.WRONG_COSIGNATURE),
        (answer(b"words\n"), FaultCode.WRONG_COSIGNATURE),
        (answer("\n— other.example c2lnbmF0dXJl\n".encode()), FaultCode.WRONG_COSIGNATURE),
        (answer("— other.example c2lnbmF0dXJl\n".encode()), FaultCode.WRONG_COSIGNATURE),
        (answer(b"", b"302 Found", b"location: http://127.0.0.1:1/\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"", b"400 Bad Request"), FaultCode.INVALID_ANSWER),
        (answer(b"", b"500 No"), FaultCode.INVALID_ANSWER),
        (answer(b"17\n", b"409 Conflict"), FaultCode.INVALID_ANSWER),
        (answer(b"", b"409 Conflict", b"content-type: text/x.tlog.size\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"-1\n", b"409 Conflict", b"content-type: text/x.tlog.size\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"9" * 60_000, b"409 Conflict", b"content-type: text/x.tlog.size\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"0\n", b"409 Conflict", b"content-type: text/x.tlog.size\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"9000000\n", b"409 Conflict", b"content-type: text/x.tlog.size\r\n"), FaultCode.END_MISSING),
        (answer(b"", b"422 No"), FaultCode.REWRITTEN),
        (answer(b"", b"503 No", b"retry-after: 5\r\n"), FaultCode.INVALID_ANSWER),
        (answer(b"x" * 100_000), FaultCode.UNREACHABLE),
        (b"garbage\r\n\r\n", FaultCode.UNREACHABLE),
    ],
)
async def test_a_hostile_answer_is_a_fault_and_no_more(reply: bytes, code: FaultCode) -> None:
    async with serve(reply) as upstream:
        post = opened_post(upstream.port)
        with pytest.raises(WitnessFault) as fault:
            await UrlWitness(parse_url(f"http://127.0.0.1:{upstream.port}"), KEY, MemoryLog(numbered(5)), post).give()
    assert fault.value.code is code
    assert len(upstream.heads) == 1


async def test_one_of_the_older_protocol_answers_409_to_another_root_of_the_same_size() -> None:
    async with serve(answer(b"5\n", b"409 Conflict", b"content-type: text/x.tlog.size\r\n")) as upstream:
        post = opened_post(upstream.port)
        with pytest.raises(WitnessFault) as fault:
            await UrlWitness(parse_url(f"http://127.0.0.1:{upstream.port}"), KEY, MemoryLog(numbered(5)), post).give()
    assert fault.value.code is FaultCode.REWRITTEN
    assert len(upstream.heads) == 2


async def test_one_that_names_another_size_each_time_is_left_alone() -> None:
    sizes = iter(range(1, 100))

    async def wavering(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.write(answer(b"%d\n" % next(sizes), b"409 Conflict", b"content-type: text/x.tlog.size\r\n"))
        await writer.drain()

    async with serve(wavering) as upstream:
        post = opened_post(upstream.port)
        witness = UrlWitness(parse_url(f"http://127.0.0.1:{upstream.port}"), KEY, MemoryLog(numbered(50)), post)
        with pytest.raises(WitnessFault, match="another size each time"):
            await witness.give()
    assert len(upstream.heads) == 3


def cosigning(log: MemoryLog, text_of: MemoryLog | None = None):
    """A server that cosigns anything: that of ``text_of``, where it is given."""

    async def reply(head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        text = parse_note(parse_submission(body).note if text_of is None else text_of.at(5).encode()).text
        writer.write(answer(f"{cosign(text, KEY, 1, PRIVATE.sign)}\n".encode()))
        await writer.drain()

    return reply


@pytest.mark.parametrize("key", [KEY, None], ids=["verified", "no key set"])
async def test_a_cosignature_of_another_checkpoint_counts_only_where_no_key_is_set(key: CosignerKey | None) -> None:
    log, other = MemoryLog(numbered(5)), MemoryLog(numbered(5, "other"))
    for text_of, is_good in ((None, True), (other, key is None)):
        async with serve(cosigning(log, text_of)) as upstream:
            post = opened_post(upstream.port)
            witness = UrlWitness(parse_url(f"http://127.0.0.1:{upstream.port}"), key, log, post)
            if is_good:
                assert await witness.give() == 5
            else:
                with pytest.raises(WitnessFault) as fault:
                    await witness.give()
                assert fault.value.code is FaultCode.WRONG_COSIGNATURE


async def test_without_the_check_any_signature_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_witness, "cosigned_by", lambda *_: None)
    log = MemoryLog(numbered(5))
    async with serve(cosigning(log, MemoryLog(numbered(5, "other")))) as upstream:
        post = opened_post(upstream.port)
        assert await UrlWitness(parse_url(f"http://127.0.0.1:{upstream.port}"), KEY, log, post).give() == 5


async def test_one_that_is_away_is_a_fault() -> None:
    async with serve() as upstream:
        port = upstream.port
    with pytest.raises(WitnessFault) as fault:
        await UrlWitness(parse_url(f"http://127.0.0.1:{port}"), KEY, MemoryLog(numbered(5)), opened_post(port)).give()
    assert fault.value.code is FaultCode.UNREACHABLE


def test_checkpoints_go_to_a_path_below_the_url() -> None:
    for url in ("https://w.example", "https://w.example/", "https://w.example/a", "https://w.example/a/"):
        assert str(add_checkpoint_url(parse_url(url))) in {
            "https://w.example/add-checkpoint",
            "https://w.example/a/add-checkpoint",
        }


@pytest.mark.parametrize(
    ("url", "key", "named"),
    [
        ("https://user@w.example/", None, "MYCELOS_WITNESS: URL host"),
        ("https://w.example/?a=b", None, "MYCELOS_WITNESS: the URL of a witness has neither a query"),
        ("https://w.example/{credential}", None, "MYCELOS_WITNESS: the URL of a witness has neither a query"),
        ("https://w.example/", "nonsense", "KEY: this is not base64"),
        ("https://w.example/", str(MemoryLog().key), "KEY: this is not a vkey of kind 0x04"),
    ],
)
def test_what_cannot_be_used_is_named(url: str, key: str | None, named: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_witness(url, "MYCELOS_WITNESS", key, "KEY")
    assert named in str(refused.value)


def test_url_and_key_are_read() -> None:
    assert parse_witness("https://w.example/a", "U", str(KEY), "K") == (parse_url("https://w.example/a"), KEY)
    assert parse_witness("https://w.example/a", "U", None, "K")[1] is None
