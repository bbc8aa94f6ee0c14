import pytest

from mycelos.wire.lockdown import LockdownState, lockdown_header, read_lockdown_header

STATES = [
    LockdownState(locked=True, since="2026-11-26T08:00:00Z", last="ab12"),
    LockdownState(locked=True, since=None, last="ab12"),
    LockdownState(locked=False, since=None, last="ab12"),
]


@pytest.mark.parametrize("state", STATES)
def test_the_gateway_reads_what_the_proxy_wrote(state: LockdownState) -> None:
    assert read_lockdown_header(lockdown_header(state)) == state


def test_the_header_is_one_line_of_plain_words() -> None:
    assert [lockdown_header(state) for state in STATES] == [
        "set ab12 2026-11-26T08:00:00Z", "set ab12 unknown", "lifted ab12",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value", ["", "lifted", "lifted ", "set", "set ab", "set  x", "open ab", "lifted ab cd", "SET a b"]
)
def test_what_cannot_be_read_means_locked(value: str) -> None:
    assert read_lockdown_header(value).locked
