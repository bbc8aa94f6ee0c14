from mycelos.proxy.operator_door.links import LIFETIME_SECONDS, OneTimeLinks


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_code_is_good_once() -> None:
    links = OneTimeLinks()
    created = links.create()
    assert len(created.code) >= 43
    assert created.code not in repr(created)
    assert links.redeem(created.code)
    assert not links.redeem(created.code)


def test_no_other_text_is_a_code() -> None:
    links = OneTimeLinks()
    code = links.create().code
    for other in ("", code[:-1], code + "x", code.swapcase(), "é", "\ud800"):
        assert not links.redeem(other)
    assert links.redeem(code)


def test_a_code_ends_after_ten_minutes() -> None:
    clock = Clock()
    links = OneTimeLinks(clock)
    early, late = links.create().code, links.create().code
    clock.now = LIFETIME_SECONDS - 0.001
    assert links.redeem(early)
    clock.now = LIFETIME_SECONDS
    assert not links.redeem(late)
    assert LIFETIME_SECONDS == 600


def test_codes_are_kept_as_hashes_and_a_bounded_number_of_them() -> None:
    links = OneTimeLinks()
    codes = [links.create().code for _ in range(65)]
    assert not any(code in repr(vars(links)) for code in codes)
    assert not links.redeem(codes[0])
    assert all(links.redeem(code) for code in codes[1:])


def test_every_code_can_be_taken_back() -> None:
    links = OneTimeLinks()
    codes = [links.create().code for _ in range(3)]
    links.forget_all()
    assert not any(links.redeem(code) for code in codes)
    assert links.redeem(links.create().code)
