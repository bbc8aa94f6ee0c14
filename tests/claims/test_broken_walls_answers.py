"""For what a bound host's answer may hold, and what a path may: its wall is taken away, and the probe sees it."""

from __future__ import annotations

import pytest
from taken_walls import broken, what_happened


def test_d3_a_cookie_of_the_account_s_session_that_comes_back_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import headers

        original = headers.returned
        headers.returned = lambda given, *, set_cookie, location_query: original(
            given, set_cookie="keep", location_query=location_query
        )
    """)
    assert broken(stopped, "D3") == {"have the bound host set a cookie of its account's session, by both forms"}


def test_d3_a_session_of_the_caller_s_in_the_path_that_goes_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import binding_check

        binding_check._path_agrees = lambda binding, url: url.segments[: len(binding.path)] == binding.path
    """)
    assert broken(stopped, "D3") == {
        "use the credential with a session of the caller's in the path",
        "use the credential by /forward with a session of the caller's in the path",
        "arrive anywhere by one of these",
    }


ALONE = "echo it in mixed escapes, broken base64 and hex in pairs, each by itself"


@pytest.mark.parametrize(
    ("wall", "passed"),
    [
        ("scrub.glances = lambda data: []", "mixed escapes"),
        ("scrub.unescaped = lambda data: []", "mixed escapes"),
        ("scrub.squeezed = lambda data: data", "broken base64"),
        ("scrub.digits_only = lambda data: data", "hex in pairs"),
        ("scrub.Scrubber._trace = lambda self, data: []", "mixed escapes, broken base64, hex in pairs"),
    ],
)
def test_i1_a_scrubber_that_does_not_read_as_a_reader_is_seen(stopped, proxy_without, wall, passed):
    proxy_without(f"from mycelos.proxy.egress import scrub\n{wall}")
    assert what_happened(stopped, "I1") == {ALONE: f"came back as {passed}"}
