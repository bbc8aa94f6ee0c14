from mycelos.operator.sessions import LIFETIME_SECONDS, Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_is_found_by_its_cookie_alone() -> None:
    sessions = Sessions()
    value = sessions.begin()
    session = sessions.find(value)
    assert session is not None
    for other in (None, "", value[:-1], value + "x", "é\ud800"):
        assert sessions.find(other) is None
    assert value not in repr(vars(sessions))
    assert session.form_token not in repr(session)


def test_a_session_ends_after_twelve_hours_or_when_it_is_ended() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    value, other = sessions.begin(), sessions.begin()
    sessions.end(other)
    sessions.end(None)
    assert sessions.find(other) is None
    clock.now = LIFETIME_SECONDS - 1
    assert sessions.find(value) is not None
    clock.now = LIFETIME_SECONDS
    assert sessions.find(value) is None
    assert LIFETIME_SECONDS == 12 * 3600


def test_a_form_token_belongs_to_one_session() -> None:
    sessions = Sessions()
    one, two = sessions.find(sessions.begin()), sessions.find(sessions.begin())
    assert one is not None
    assert two is not None
    assert one.accepts(one.form_token)
    for other in (two.form_token, "", "é", "\ud800"):
        assert not one.accepts(other)


def test_a_bounded_number_of_sessions_is_kept() -> None:
    sessions = Sessions()
    values = [sessions.begin() for _ in range(65)]
    assert sessions.find(values[0]) is None
    assert all(sessions.find(value) for value in values[1:])
