import pytest

from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.status import ARMED, LONGEST_LINE, check_status, encode_refusal

DIED = SandboxRefused(Layer.BUBBLEWRAP, "it died", "look")


def test_armed_is_let_through() -> None:
    check_status(ARMED, DIED)


def test_a_refusal_comes_back_as_it_was_said_and_fits_one_read() -> None:
    line = encode_refusal(SandboxRefused(Layer.SECCOMP, "x" * 9000, "fix"))
    assert len(line) < LONGEST_LINE
    with pytest.raises(SandboxRefused) as refused:
        check_status(line, DIED)
    assert (refused.value.layer, refused.value.fix) == (Layer.SECCOMP, "fix")


@pytest.mark.parametrize("line", [b"", b"armed", b'"armed"', b'{"layer":"nothing","cause":"","fix":""}', b"\xff"])
def test_anything_else_means_that_it_died(line: bytes) -> None:
    with pytest.raises(SandboxRefused) as refused:
        check_status(line, DIED)
    assert refused.value is DIED
