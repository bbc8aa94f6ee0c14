from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mycelos.prove import placeholder
from mycelos.prove.placeholder import Places, all_refused
from mycelos.prove.twin import Answer

REFUSED = Answer(400, {"code": "injection_refused"})


@dataclass
class Outside:
    authority: str = "127.0.0.1:1"
    requests: list[str] = field(default_factory=list)


class Careless:
    """A twin of which a test says what it does with each request."""

    canary = "canary-x"

    def __init__(self, answer, bound=None, line=None):
        self.answer, self.bound, self.line = answer, bound, line
        self.secret = ""
        self.operator = self

    def rotate(self, message):
        self.secret = message.secret

    def use(self, url, **_):
        if self.line is not None:
            self.bound.requests.append(self.line(self.secret))
        return self.answer

    def forward(self, *_, **__):
        return self.answer


def places_with(answer, line=None):
    bound = Outside()
    return Places(Careless(answer, bound, line), bound, Outside("127.0.0.1:2"))


def test_what_is_refused_and_does_not_arrive_holds():
    finding = all_refused(places_with(REFUSED), "x", [REFUSED, REFUSED])
    assert (finding.happened, finding.held) == ("2 injection_refused; 0 arrived", True)


@pytest.mark.parametrize("answer", [Answer(200, {"status": 200}), Answer(502, "an upstream's words"), Answer(404, {})])
def test_what_is_not_a_refusal_of_the_proxy_does_not_hold(answer):
    assert not all_refused(places_with(REFUSED), "x", [REFUSED, answer]).held


def test_what_is_refused_and_arrives_all_the_same_does_not_hold():
    places = places_with(REFUSED)

    def sending():
        places.thief.requests.append("GET / HTTP/1.1")
        yield REFUSED

    finding = all_refused(places, "x", sending())
    assert (finding.happened, finding.held) == ("1 injection_refused; 1 arrived", False)


def test_a_proxy_that_lets_everything_pass_fails_each_attempt():
    places = places_with(Answer(200, {"status": 200}), lambda secret: f"GET /bound/bot{secret}/item HTTP/1.1")
    for attack in (placeholder.change_the_host, placeholder.send_it_raw):
        findings = list(attack(places))
        assert len(findings) >= 5
        assert not any(finding.held for finding in findings)
    changed, dots = placeholder.route_by_the_secret(places)
    assert not changed.held
    assert "'aaaa/bbbb'" in changed.happened
    assert not dots.held


def test_every_secret_that_routes_would_change_a_url_that_it_is_put_into_as_it_is():
    from urllib.parse import quote

    for secret in placeholder.ROUTING_SECRETS:
        assert quote(secret, safe="") != secret
