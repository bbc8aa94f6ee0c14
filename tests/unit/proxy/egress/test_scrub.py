from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.egress.scrub import REPLACEMENT, Scrubber
from mycelos.wire.secret_forms import FORMS, secret_forms

SECRET = b"ghp_16C7e42F292c6912E7710c838347Ae178B4a"


def run(scrubber: Scrubber, pieces: list[bytes]) -> bytes:
    return b"".join([scrubber.feed(piece) for piece in pieces]) + scrubber.finish()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(borders)]


@pytest.mark.parametrize("family", FORMS)
def test_each_form_of_each_family_is_taken_out(family: str) -> None:
    for form in FORMS[family](SECRET):
        scrubber = Scrubber([SECRET])
        assert run(scrubber, [b"before " + form + b" after"]) == b"before " + REPLACEMENT + b" after"
        assert scrubber.count == 1


@pytest.mark.parametrize("family", FORMS)
def test_each_form_is_taken_out_wherever_the_answer_is_cut_once(family: str) -> None:
    for form in FORMS[family](SECRET):
        data = b"<" + form + b">"
        for place in range(len(data) + 1):
            assert run(Scrubber([SECRET]), [data[:place], data[place:]]) == b"<" + REPLACEMENT + b">"


def test_the_first_possible_beginning_counts_also_before_a_complete_short_form() -> None:
    # Found by the fuzzer: of a short secret a complete form can stand inside the beginning of a longer one.
    secret = b"\x06\x00"
    data = secret.decode().encode("utf-16-be") * 2
    for place in range(len(data) + 1):
        assert run(Scrubber([secret]), [data[:place], data[place:]]) == REPLACEMENT * 2


def test_byte_by_byte_nothing_gets_through() -> None:
    data = b'{"authorization": "Bearer ' + SECRET + b'"}'
    assert SECRET not in run(Scrubber([SECRET]), [bytes([byte]) for byte in data])


@given(
    st.lists(st.text(alphabet="ab", min_size=1, max_size=5).map(str.encode), min_size=1, max_size=3),
    st.text(alphabet="ab%61", max_size=60).map(str.encode),
    st.lists(st.integers(0, 100), max_size=8),
)
def test_the_result_does_not_depend_on_how_the_answer_was_cut(
    secrets: list[bytes], data: bytes, places: list[int]
) -> None:
    whole = Scrubber(secrets).scrub_whole(data)
    scrubber = Scrubber(secrets)
    assert run(scrubber, cut(data, places)) == whole
    for secret in secrets:
        for part in whole.split(REPLACEMENT):
            assert secret not in part


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=6))
def test_an_answer_without_a_secret_passes_unchanged(data: bytes, places: list[int]) -> None:
    scrubber = Scrubber([b"a-secret-that-is-not-there"])
    assert run(scrubber, cut(data, places)) == data
    assert scrubber.count == 0


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_secret_inside_an_encoded_message_is_taken_out(before: int, after: int) -> None:
    message = b"x" * before + SECRET + b"y" * after
    for encoded in (base64.b64encode(message), message.hex().encode(), quote(message, safe="").encode()):
        cleaned = run(Scrubber([SECRET]), [encoded])
        assert not any(form in cleaned for form in secret_forms(SECRET))


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[{"delta":{"content":"zebra"}}]}\n\n',
        b"event: done\r\ndata: plain words\r\n\r\n",
        b'{"line": "of JSON"}\n',
        b'["line"]\r\n',
    ],
)
def test_an_event_or_a_line_of_json_is_passed_on_at_once(event: bytes) -> None:
    assert Scrubber([SECRET]).feed(event) == event


@given(
    st.binary(min_size=8, max_size=40).filter(lambda secret: b"\n" not in secret),
    st.data(),
    st.lists(st.integers(0, 6000), max_size=6),
)
def test_when_and_how_an_answer_is_passed_on_tells_nothing_of_a_secret(
    secret: bytes, data: st.DataObject, places: list[int]
) -> None:
    """Whoever chooses a part of an answer learns from its pieces no more than with another secret in the vault."""
    guess = secret[: data.draw(st.integers(0, len(secret) - 1))]
    filler = data.draw(st.sampled_from([b".", b"x\n", b'"}\n', b"\n\n", b"."])) * data.draw(st.integers(0, 3000))
    answer = filler + guess + data.draw(st.sampled_from([b"", b"!", b"\n", b"}\n", b"." * 3000]))
    other = bytes(byte ^ 0x55 if byte ^ 0x55 != 0x0A else byte ^ 0x54 for byte in secret)
    pieces = cut(answer, places)
    shapes = []
    for kept in (secret, other):
        if kept in answer:
            return
        scrubber = Scrubber([kept])
        shapes.append([len(scrubber.feed(piece)) for piece in pieces] + [len(scrubber.finish())])
    assert shapes[0] == shapes[1]


def test_the_border_between_pieces_does_not_follow_a_right_guess() -> None:
    """The attack: an echo of guesses, each one letter longer, watched for the piece that stays behind."""
    borders = set()
    for guess in (b"ghp_16C7e42F", b"ghp_16C7e42X", b"nothing-like-"):
        scrubber = Scrubber([SECRET])
        borders.add((scrubber.feed(b"." * 5000 + guess[:12]), len(scrubber.finish())))
    assert len(borders) == 1


def test_what_is_held_tells_no_length_of_a_secret() -> None:
    held = {Scrubber([bytes(range(33, 33 + length))])._hold for length in range(8, 90)}
    assert len(held) == 1


def test_a_secret_across_the_place_of_the_cut_is_taken_out_whole() -> None:
    for lead in range(1990, 2060):
        data = b"." * lead + SECRET + b"." * 2048
        for place in (len(data) - 1, lead + 10, lead):
            cleaned = run(Scrubber([SECRET]), [data[:place], data[place:]])
            assert cleaned == b"." * lead + REPLACEMENT + b"." * 2048


MIXED = b"canary-S3cr3t/Tok+en=ZQ9"


@pytest.mark.parametrize(
    "written",
    [
        "canary-S3cr3t/Tok\\u002Ben\\u003dZQ9", "canary-S3cr3t\\u002fTok+en\\u003DZQ9",
        "canary\\u002DS3cr3t\\/Tok+en=ZQ9", "canary-S3cr3t\\\\u002fTok+en=ZQ9",
        "canary-S3cr3t&#x2F;Tok&#43;en&#x3D;ZQ9", "canary-S3cr3t&sol;Tok&plus;en&equals;ZQ9",
        "canary-S3cr3t&#0047;Tok+en&#x0003d;ZQ9", "canary-S3cr3t&amp;sol;Tok+en=ZQ9",
        "canary-S3cr3t/Tok%2Ben=ZQ9", "canary-S3cr3t/Tok+en%3dZQ9", "canary%2DS3cr3t%2fTok%2Ben%3DZQ9",
        "canary-S3cr3t%25252FTok%252Ben=ZQ9", "c%61nary-S3cr3t/T\\u006fk&#43;en=ZQ9",
        "canary-S3cr3t%5Cu002fTok+en=ZQ9", "canary-S3cr3t\\u0026#x2F;Tok+en=ZQ9",
    ],
)  # fmt: skip
def test_a_secret_of_which_only_some_characters_are_escaped_is_taken_out(written: str) -> None:
    data = f"<{written}>".encode()
    for place in range(len(data) + 1):
        scrubber = Scrubber([MIXED])
        assert run(scrubber, [data[:place], data[place:]]) == b"<" + REPLACEMENT + b">"
        assert scrubber.count == 1


def spellings(character: str) -> list[str]:
    code = ord(character)
    return [
        character, f"%{code:02x}", f"%{code:02X}", f"%25{code:02x}", f"\\u{code:04x}", f"\\u{code:04X}",
        f"\\\\u{code:04x}", f"&#{code};", f"&#0{code};", f"&#x{code:x};", f"&#X{code:X};", f"&amp;#{code};",
    ]  # fmt: skip


@given(
    st.data(),
    st.text(alphabet="abcXYZ019-_./+=~:", min_size=8, max_size=24),
    st.lists(st.integers(0, 400), max_size=4),
)
def test_however_each_character_is_spelled_the_secret_is_taken_out(
    data: st.DataObject, secret: str, places: list[int]
) -> None:
    written = "".join(data.draw(st.sampled_from(spellings(character))) for character in secret)
    answer = f"<<{written}>>".encode()
    scrubber = Scrubber([secret.encode()])
    assert run(scrubber, cut(answer, places)) == b"<<" + REPLACEMENT + b">>"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\n  ", b"\\n", b"\\r\\n", b"\\u000a"])
@pytest.mark.parametrize("columns", [4, 60, 76])
def test_base64_that_is_broken_into_lines_is_taken_out(line_end: bytes, columns: int) -> None:
    for before in range(3):
        encoded = base64.b64encode(b"y" * (60 + before) + SECRET + b"z" * 9)
        lines = line_end.join(encoded[at : at + columns] for at in range(0, len(encoded), columns))
        cleaned = run(Scrubber([SECRET]), [b'{"a": "', lines, b'"}'])
        joined = cleaned.replace(line_end, b"")
        assert REPLACEMENT in cleaned
        assert not any(form in joined for form in FORMS["base64"](SECRET))


@pytest.mark.parametrize("between", [b":", b" ", b"-", b", "])
def test_digits_with_something_between_them_or_in_mixed_case_are_taken_out(between: bytes) -> None:
    pairs = [f"{byte:02x}" if index % 2 else f"{byte:02X}" for index, byte in enumerate(SECRET)]
    assert run(Scrubber([SECRET]), [b"<" + between.join(pair.encode() for pair in pairs) + b">"]) == (
        b"<" + REPLACEMENT + b">"
    )


TOKEN = b"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtb3NzIn0.4pGq-Tk_7Yw0Zq8mBv2Rr5Lx"


@pytest.mark.parametrize(
    "written",
    [
        json.dumps({"log": json.dumps({"auth": base64.encodebytes(TOKEN).decode()})}),
        urlencode({"a": base64.encodebytes(TOKEN)}),
        urlencode({"a": base64.encodebytes(TOKEN).replace(b"\n", b"\r\n")}),
        urlencode({"a": TOKEN.hex()[:64] + "\n" + TOKEN.hex()[64:]}),
        base64.encodebytes(TOKEN).decode().replace("\n", "\\t\\f"),
        "".join(f"\\x{byte:02x}" for byte in TOKEN),
        "".join(f"%u{byte:04X}" for byte in TOKEN),
        "".join(f"\\u{{{byte:x}}}" for byte in TOKEN),
        ", ".join(f"0x{byte:02X}" for byte in TOKEN),
        base64.b64encode(TOKEN.decode().encode("utf-16-le")).decode(),
        TOKEN.decode().encode("utf-16-le").hex(),
        TOKEN.decode().replace(".", "\\x2e").replace("_", "%u005F"),
    ],
    ids=lambda written: written[:24],
)  # fmt: skip
def test_what_common_writers_make_of_a_token_by_two_steps_is_taken_out(written: str) -> None:
    scrubber = Scrubber([TOKEN])
    cleaned = run(scrubber, [b"<", written.encode(), b">"])
    assert REPLACEMENT in cleaned
    assert scrubber.count >= 1
    assert not any(
        part in cleaned for part in (TOKEN[20:40], base64.b64encode(TOKEN)[20:40], TOKEN[20:40].hex().encode())
    )


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_secret_with_quotes_in_a_text_in_quotes_is_taken_out(depth: int) -> None:
    secret = "it's Zq8\"a\\b-pass"
    written = secret
    for _ in range(depth):
        written = json.dumps(written)[1:-1]
    for text in (written, repr(secret)[1:-1], secret.replace("'", "\\'")):
        assert run(Scrubber([secret.encode()]), [f"<{text}>".encode()]) == b"<" + REPLACEMENT + b">"


def test_a_short_secret_is_not_found_in_words_by_leaving_spaces_out() -> None:
    text = b"he is at home and a dead bee f00d: words, numbers 12 34 56 and more\n"
    assert run(Scrubber([b"abc"]), [text]) == text


def test_a_longer_secret_that_begins_with_a_shorter_one_is_taken_out_whole() -> None:
    data = b"[abcdef-tail]"
    for place in range(len(data)):
        assert run(Scrubber([b"abcdef", b"abcdef-tail"]), [data[:place], data[place:]]) == b"[" + REPLACEMENT + b"]"


def test_two_secrets_side_by_side_are_both_taken_out_and_counted() -> None:
    scrubber = Scrubber([b"first-secret", b"second-secret"])
    assert run(scrubber, [b"first-secretsecond-secret"]) == REPLACEMENT * 2
    assert scrubber.count == 2


def test_without_secrets_nothing_is_looked_for() -> None:
    scrubber = Scrubber([])
    assert not scrubber.is_active
    assert run(scrubber, [b"anything", b""]) == b"anything"
    assert scrubber.scrub_whole(b"x") == b"x"


def test_after_close_no_attribute_holds_the_secret() -> None:
    scrubber = Scrubber([SECRET])
    scrubber.feed(b"held ghp_16C7e")
    scrubber.close()
    assert SECRET not in json.dumps({key: repr(value) for key, value in vars(scrubber).items()}).encode()
    assert b"ghp_" not in repr(vars(scrubber)).encode()


def test_without_the_matcher_the_secret_gets_through() -> None:
    scrubber = Scrubber([SECRET])
    scrubber._matcher = None
    assert SECRET in run(scrubber, [SECRET])
