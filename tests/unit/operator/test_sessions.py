import pytest

from mycelos.operator.sessions import FRESH_SECONDS, LIFETIME_SECONDS, NewSession, Session, Sessions


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def found(sessions: Sessions, new: NewSession) -> Session:
    session = sessions.find(new.path_token, [new.cookie])
    assert session is not None
    return session


def test_a_session_is_found_by_its_path_and_its_cookie_together_alone() -> None:
    sessions = Sessions()
    new, other = sessions.begin(), sessions.begin()
    assert found(sessions, new) is not found(sessions, other)
    for path in ("", new.path_token[:-1], new.path_token + "x", other.path_token, new.cookie, "é\ud800"):
        assert sessions.find(path, [new.cookie]) is None
    for cookie in ("", new.cookie[:-1], new.cookie + "x", other.cookie, new.path_token, "é\ud800"):
        assert sessions.find(new.path_token, [cookie]) is None
    assert sessions.find(new.path_token, []) is None


def test_one_of_several_cookies_is_enough_wherever_it_stands() -> None:
    sessions = Sessions()
    new = sessions.begin()
    for cookies in ([new.cookie, "x"], ["x", new.cookie], ["x", "", "y", new.cookie]):
        assert sessions.find(new.path_token, cookies) is found(sessions, new)


def test_neither_secret_is_kept_or_shown() -> None:
    sessions = Sessions()
    new = sessions.begin()
    session = found(sessions, new)
    for secret in (new.path_token, new.cookie):
        assert secret not in repr(vars(sessions))
        assert secret not in repr(vars(session))
        assert secret not in repr(new)
    assert session.form_token not in repr(session)
    assert new.path_token != new.cookie
    assert len(new.path_token) == len(new.cookie) == 43


def test_a_session_ends_after_twelve_hours_or_when_it_is_ended() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    new, other = sessions.begin(), sessions.begin()
    ended = found(sessions, other)
    sessions.end(ended)
    sessions.end(ended)
    assert sessions.find(other.path_token, [other.cookie]) is None
    clock.now = LIFETIME_SECONDS - 1
    assert sessions.find(new.path_token, [new.cookie]) is not None
    clock.now = LIFETIME_SECONDS
    assert sessions.find(new.path_token, [new.cookie]) is None
    assert LIFETIME_SECONDS == 12 * 3600


def test_a_form_token_belongs_to_one_session() -> None:
    sessions = Sessions()
    one, two = found(sessions, sessions.begin()), found(sessions, sessions.begin())
    assert one.accepts(one.form_token)
    for other in (two.form_token, "", "é", "\ud800"):
        assert not one.accepts(other)


@pytest.mark.parametrize("name", ["", "ab12"])
def test_a_session_remembers_the_newest_lockdown_before_it(name: str) -> None:
    sessions = Sessions()
    assert found(sessions, sessions.begin(name)).lockdown == name


def test_a_bounded_number_of_sessions_is_kept() -> None:
    sessions = Sessions()
    made = [sessions.begin() for _ in range(65)]
    assert sessions.find(made[0].path_token, [made[0].cookie]) is None
    assert all(found(sessions, new) for new in made[1:])


def test_a_session_is_fresh_for_ten_minutes() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    session = found(sessions, sessions.begin())
    clock.now = FRESH_SECONDS - 0.1
    assert sessions.is_fresh(session)
    clock.now = FRESH_SECONDS
    assert not sessions.is_fresh(session)


def test_all_sessions_end_together_and_are_counted_without_those_that_had_ended() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    sessions.begin()
    clock.now = LIFETIME_SECONDS
    news = [sessions.begin(passkey="passkey_x"), sessions.begin()]
    assert [found(sessions, new).passkey for new in news] == ["passkey_x", ""]
    assert sessions.end_all() == 2
    assert all(sessions.find(new.path_token, [new.cookie]) is None for new in news)


def test_what_the_proxy_knows_a_session_by_opens_nothing() -> None:
    sessions = Sessions()
    new = sessions.begin()
    name = found(sessions, new).name
    assert len(name) == 64
    assert sessions.find(name, [new.cookie]) is sessions.find(new.path_token, [name]) is None
