"""Attacks by `{credential}` and by what is put in its place: another host, another path, and the text itself sent."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from mycelos.prove.outcome import Finding
from mycelos.wire.operator import RotateCredential
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mycelos.prove.twin import Answer, Twin
    from mycelos.prove.upstream import Upstream

HOSTILE: Final = "hostile"
"""A credential that is put into the path; each attack chooses its secret."""

PLACEHOLDERS: Final = (
    "{credential}",
    "{CREDENTIAL}",
    "{ credential }",
    "%7Bcredential%7D",
    "%7bcredential%7d",
    "%257Bcredential%257D",
    "\\u007bcredential\\u007d",
    "&#123;credential&#125;",
)
"""Spellings of the placeholder that some receiver reads as it."""

ROUTING_SECRETS: Final = (
    "aaaa/bbbb",
    "@localhost",
    ":00000080",
    "?aaaa=bbbb",
    "#aaaabbbb",
    "aaaa%2Fbbbb",
    "aaaa;bbbb",
    "aaaa\\bbbb",
    "aaaa bbbb",
)
"""Secrets that, put into a URL as they are, would change its path, query or host."""

DOT_SECRETS: Final = (".", "..", "../../elsewhere")
"""Secrets that leave the path, also for a server that undoes escapes first: no spelling makes them a segment."""


@dataclass(frozen=True)
class Places:
    """A twin with a credential of each form, the host where all are bound, and another that is opened."""

    twin: Twin
    bound: Upstream
    thief: Upstream

    @property
    def arrived(self) -> int:
        """How many requests have arrived at either host."""
        return len(self.bound.requests) + len(self.thief.requests)

    def url(self, path: str) -> str:
        """A path at the bound host."""
        return f"http://{self.bound.authority}{path}"

    def hold(self, secret: str) -> None:
        """Let the hostile credential hold this secret."""
        self.twin.operator.rotate(RotateCredential(service=HOSTILE, secret=secret))

    def is_taken(self, secret: str) -> bool:
        """Whether the operator's door takes this secret, past the check that its client makes before it sends."""
        rotation = RotateCredential(service=HOSTILE, secret=self.twin.canary)
        msgspec.structs.force_setattr(rotation, "secret", secret)
        try:
            self.twin.operator.rotate(rotation)
        except Refusal:
            return False
        return True


def change_the_host(places: Places) -> Iterator[Finding]:
    """With a secret that is another host's name, so that a host made of it would be reached."""
    own = places.bound.authority
    places.hold(places.thief.authority)
    for part, url in (
        ("the host", "http://{credential}/bound/item"),
        ("the host, escaped", "http://%7Bcredential%7D/bound/item"),
        ("the end of the host", f"http://{own}{{credential}}/bound/item"),
        ("the user name", f"http://{{credential}}@{own}/bound/item"),
        ("the port", "http://127.0.0.1:{credential}/bound/item"),
        ("the scheme", f"{{credential}}://{own}/bound/item"),
        ("the query", f"http://{own}/bound/item?a={{credential}}"),
        ("the fragment", f"http://{own}/bound/item#{{credential}}"),
        ("two places of the path", f"http://{own}/bound/{{credential}}/{{credential}}"),
    ):
        answers = [
            places.twin.use(url, inject_credential=HOSTILE),
            places.twin.use(url, inject_credential=HOSTILE, inject_as="url_path"),
        ]
        yield all_refused(places, f"put the credential into {part}", answers)


def route_by_the_secret(places: Places) -> Iterator[Finding]:
    """Each arrives as one escaped segment at the bound host, or is refused."""
    wrong = []
    for secret in ROUTING_SECRETS:
        places.hold(secret)
        before = len(places.bound.requests)
        answer = places.twin.use(places.url("/bound/bot{credential}/item"), inject_credential=HOSTILE)
        lines = [text.splitlines()[0] for text in places.bound.requests[before:]]
        if answer.status != 200 or lines != [f"GET /bound/bot{quote(secret, safe=':')}/item HTTP/1.1"]:
            wrong.append(secret)
    happened = f"{len(ROUTING_SECRETS)} tried, each arrived as one escaped segment of the path"
    if wrong:
        happened = f"in another way: {', '.join(map(repr, wrong))}"
    yield Finding("change path, query or host by what the secret is", happened, held=not wrong)
    answers = [
        places.twin.use(places.url("/bound/{credential}/item"), inject_credential=HOSTILE)
        for secret in DOT_SECRETS
        if places.is_taken(secret)
    ]
    found = all_refused(places, "leave the path by a secret of dots", answers)
    at_the_door = len(DOT_SECRETS) - len(answers)
    yield Finding(found.tried, f"{at_the_door} refused at the operator's door; {found.happened}", found.held)


def send_it_raw(places: Places) -> Iterator[Finding]:
    """The placeholder where nothing is put: each spelling in each place, by whoever asks."""
    use, url = places.twin.use, places.url("/bound/item")
    asking: dict[str, dict[str, Any]] = {
        "a bearer credential": {},
        "a url_path credential": {"inject_credential": "path"},
        "an unknown credential": {"inject_credential": "nobody"},
        "no credential": {"with_credential": False},
    }
    for who, service in asking.items():
        answers = [
            answer
            for placeholder in PLACEHOLDERS
            for answer in (
                use(url, headers={"Accept": placeholder}, **service),
                use(f"{url}?a={placeholder}", **service),
                use(url, method="POST", body=f"a={placeholder}", **service),
                use(url, method="POST", body={"a": [placeholder]}, **service),
            )
        ]
        yield all_refused(places, f"send the placeholder as it is, in header, query or body, for {who}", answers)
    elsewhere = f"http://{places.thief.authority}/bound/{{credential}}"
    answers = [
        use(elsewhere, inject_credential="path"),
        use(elsewhere, with_credential=False),
        use(places.url("/bound/{credential}")),
        use(places.url("/bound/%7Bcredential%7D"), with_credential=False),
        use(places.url("/bound/{other}"), inject_credential="path"),
        places.twin.forward(f"/forward/http/{places.bound.authority}/bound/%7Bcredential%7D"),
    ]
    yield all_refused(places, "send the placeholder as it is, in a path where none is put", answers)


def all_refused(places: Places, tried: str, answers: Iterable[Answer]) -> Finding:
    """Each with a problem document of the proxy's, and nothing has arrived anywhere."""
    before = places.arrived
    given = list(answers)
    codes = Counter(answer.code or f"status {answer.status}" for answer in given)
    arrived = places.arrived - before
    shown = ", ".join(f"{count} {code}" for code, count in sorted(codes.items()))
    held = all(answer.status >= 400 and answer.code for answer in given) and arrived == 0
    return Finding(tried, f"{shown}; {arrived} arrived", held)
