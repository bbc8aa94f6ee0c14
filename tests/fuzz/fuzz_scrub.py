"""The scrubber: however an answer is cut, no form of a secret gets through, and nothing else is lost."""

from __future__ import annotations

from collections.abc import Iterable

from fields import fields, join

from mycelos.proxy.egress.scrub import REPLACEMENT, Scrubber
from mycelos.wire.secret_forms import secret_forms

SECRETS = (
    b"ghp_16C7e42F292c6912",
    b"a/b+c==&\"<'",
    b"abab",
    "schl\u00fcssel\U0001f511".encode(),
    b"\x00\xff\xfe\x01",
    b"aaaaaaab",
)
SEEDS = [
    join(b"", bytes([1, number, 0, 32, 4, 0, 3, 200, 1, number + 1, 2, number, 4, 9, 3, 202, 1, number]), secret)
    for number, secret in enumerate(SECRETS)
]
WORDS = [b"\xff\xff", b"\x01\x00", b"\x02\x05", b"\x03\xc8", b"\x04\x00", b"%61", b"\\u0061", b"&#97;", *SECRETS]


def one_input(data: bytes) -> None:
    second, program, first = fields(data, 3)
    secrets = [secret for secret in (first[:64], second[:64]) if secret]
    # No secret that is stored holds a line end (`wire/operator.py`).
    if not secrets or any(part in REPLACEMENT or REPLACEMENT in part or set(part) & {10, 13} for part in secrets):
        return
    forms = [form for secret in secrets for form in secret_forms(secret)]
    pieces = answer(program[:96], forms)
    scrubber = Scrubber(secrets)
    out = []
    for piece in pieces:
        out.append(scrubber.feed(piece))
        assert len(scrubber._held) <= scrubber._hold, "more is held back than was said"
    out.append(scrubber.finish())
    clean = b"".join(out)
    count = scrubber.count
    assert clean == scrubber.scrub_whole(b"".join(pieces)), "the result depends on how the answer was cut"
    assert scrubber.count == 2 * count
    for part in clean.split(REPLACEMENT):
        assert not any(form in part for form in forms), "a form of the secret got through"
    if count == 0:
        assert clean == b"".join(pieces), "something else was changed"


def answer(program: bytes, forms: list[bytes]) -> list[bytes]:
    """The pieces of an answer: pairs of an operation and its argument."""
    pieces = [b""]
    for operation, argument in zip(program[::2], program[1::2], strict=False):
        form = forms[argument % len(forms)]
        match operation % 5:
            case 0:
                pieces[-1] += bytes([argument])
            case 1:
                pieces[-1] += form
            case 2:
                pieces[-1] += form[: operation // 5 % len(form)]
            case 3:
                # Longer than what is held back, with and without line ends at which it may be passed on.
                pieces[-1] += (b".", b"\n", b'"}\n', b" ")[argument % 4] * (argument * 12)
            case _:
                # Cut inside of what stands there.
                place = len(pieces[-1]) - argument % (len(pieces[-1]) + 1)
                pieces[-1:] = [pieces[-1][:place], pieces[-1][place:]]
    return pieces


def plant() -> None:
    """Nothing is held back: a secret that is cut in two gets through."""
    original = Scrubber.__init__

    def forgetful(self: Scrubber, secrets: Iterable[bytes]) -> None:
        original(self, secrets)
        self._hold = 0

    Scrubber.__init__ = forgetful
