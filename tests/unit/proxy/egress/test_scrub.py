from __future__ import annotations

import base64
import json
from itertools import pairwise
from urllib.parse import quote

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


def test_only_a_possible_beginning_is_held_back() -> None:
    scrubber = Scrubber([SECRET])
    event = b'data: {"choices":[{"delta":{"content":"zebra"}}]}\n\n'
    assert scrubber.feed(event) == event
    assert scrubber.feed(b"see ghp_16C7") == b"see "
    assert scrubber.feed(b" no") == b"ghp_16C7 no"
    assert scrubber.finish() == b""


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
