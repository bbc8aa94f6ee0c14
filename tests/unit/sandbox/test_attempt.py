import errno
import os

import pytest

from mycelos.sandbox.attempt import Attack, Outcome, attempt_all, first_that_works, reaches, refused


def refuse(_: object) -> None:
    refused(errno.EPERM)


def test_an_attack_that_the_kernel_refuses_is_held_and_one_that_returns_is_open() -> None:
    attacks = (Attack("refused", "is refused", refuse), Attack("done", "is done", lambda _: None))
    assert attempt_all(attacks, None) == [
        Outcome("refused", held=True, detail="EPERM"),
        Outcome("done", held=False, detail="it is done"),
    ]


def test_a_faulty_attack_is_no_success_of_the_wall() -> None:
    def faulty(_: object) -> None:
        message = "a mistake in the attack"
        raise ValueError(message)

    with pytest.raises(ValueError, match="mistake"):
        attempt_all((Attack("faulty", "is wrong", faulty),), None)


def test_a_call_with_wrong_arguments_shows_that_it_was_reached() -> None:
    reaches("shutdown", -1, 2, reached=(errno.EBADF,))(None)
    with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
        reaches("shutdown", -1, 2, reached=(errno.EINVAL,))(None)


def test_of_several_ways_one_is_enough_and_none_is_a_refusal() -> None:
    tried: list[str] = []
    first_that_works((lambda: refuse(None), lambda: tried.append("second"), lambda: tried.append("third")))
    assert tried == ["second"]
    with pytest.raises(PermissionError):
        first_that_works((lambda: refuse(None),))
    with pytest.raises(FileNotFoundError):
        first_that_works(())
