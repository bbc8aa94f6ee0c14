"""I1, I2, I4: one run in a twin with credentials of each form, a host that echoes and a model; then what is left of it.

The twin is loud. What comes back through the gateway's door is shown to a model and kept as the gateway keeps it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.gateway.store import Store
from mycelos.gateway.store.database import now
from mycelos.gateway.store.records import JournalRow, RunState
from mycelos.prove import twin as twin_module
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.recorded_requests import requests_that_say_a_secret
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import SPELLINGS_ALONE, Upstream
from mycelos.proxy.egress.scrub import REPLACEMENT
from mycelos.wire.binding import Basic, Bearer, Header, Method, UrlPath
from mycelos.wire.egress import FORWARD_CREDENTIAL
from mycelos.wire.operator import RotateCredential, StoreCredential
from mycelos.wire.secret_forms import FORMS, SHORTEST_FORM

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.prove.installation import Installation
    from mycelos.wire.binding import Injection

_MODEL: Final = "model"
_FORMS: Final[dict[str, Injection]] = {
    SERVICE: Bearer(),
    "basic": Basic("robot"),
    "header": Header("X-Key"),
    "path": UrlPath(),
}
_PIECE: Final = 12
"""Characters of a line of broken base64."""
_MARKS: Final = "/+<&'\">%{}"
"""Characters that each way of writing spells in its own way."""


@dataclass(frozen=True)
class CanaryRun:
    """Everything that was said, and where it was kept; spellings by family."""

    spellings: dict[str, tuple[bytes, ...]]
    came_back: bytes
    prompt: bytes
    log: bytes
    ledger: bytes
    kept: bytes
    passed: tuple[str, ...]
    """Ways of writing that are no list of forms, and that came back."""

    def found_in(self, text: bytes) -> list[str]:
        """The families of spellings that stand in ``text``."""
        return [family for family, forms in self.spellings.items() if any(form in text for form in forms)]


def probe_models(_installation: Installation) -> list[Finding]:
    """I1: what a model is sent, which is all that came back, and what came back itself."""
    run = _canary_run(twin_module.PROGRAM)
    return [
        _not_in(run, f"echo a credential in {len(run.spellings)} families of spellings, by both forms", run.came_back),
        _not_in(run, "have a model shown everything that came back", run.prompt),
        Finding(
            "echo it in mixed escapes, broken base64 and hex in pairs, each by itself",
            f"came back as {', '.join(run.passed)}" if run.passed else "each was found by reading it as its reader",
            held=not run.passed,
        ),
    ]


def everything_that_came(_installation: Installation) -> Finding:
    """Of V4: all bytes that came through the gateway's door, with the list of credentials and the trail."""
    run = _canary_run(twin_module.PROGRAM)
    return _not_in(run, "find a credential in anything that comes through the gateway's door", run.came_back)


def probe_logs(_installation: Installation) -> list[Finding]:
    """I2: the log with every logger on, and the trail, from storing to rotating and using."""
    run = _canary_run(twin_module.PROGRAM)
    if b"DEBUG" not in run.log:
        message = "the twin's log does not say what its libraries do, so nothing can be said of it"
        raise CannotShowError(message)
    return [
        _not_in(run, "find a credential in the proxy's log, with every logger on", run.log),
        _not_in(run, "find a credential in the file of the trail, and in what is read of it", run.ledger),
        *requests_that_say_a_secret(),
    ]


def probe_memories(_installation: Installation) -> list[Finding]:
    """I4: the gateway's database after a run that was answered with an echo: chats, transcripts and runs."""
    run = _canary_run(twin_module.PROGRAM)
    return [_not_in(run, "find a credential in what an agent's chats and runs remember of an echo", run.kept)]


@lru_cache(maxsize=1)
def _canary_run(_program: str) -> CanaryRun:
    """One run for all probes of one program."""
    with Upstream() as outside, Upstream() as model, Twin(outside.port, (model.authority,), loud=True) as twin:
        secrets = {name: f"{twin.canary}-{name}{_MARKS}" for name in (*_FORMS, _MODEL)}
        _store(twin, outside, model, secrets)
        stored = list(secrets.values())
        echoed = [form for forms in _spellings(stored).values() for form in forms]
        outside.spellings = model.spellings = b"\n" + b"\n".join(echoed)
        came = _use(twin, outside)
        # As a gateway would: a model is shown all that came, and its answer comes back too.
        prompt = {"messages": [{"role": "tool", "content": part.decode("utf-8", "replace")} for part in came]}
        came.append(
            twin.everything(
                "POST", f"/forward/http/{model.authority}/bound/chat", [(FORWARD_CREDENTIAL, _MODEL)], prompt
            )
        )
        _must_have_arrived(outside, model, secrets)
        came += [
            twin.everything("POST", "/credential/list", message={}),
            twin.everything("POST", "/credential/materialize", message={"service": SERVICE}),
            twin.everything("GET", "/audit/events?limit=1000"),
        ]
        passed = _passed(twin, outside, secrets[SERVICE])
        kept = asyncio.run(_keep(twin.folder / "remembered.sqlite", came))
        entries = json.dumps([entry.as_dict() for entry in twin.entries()]).encode()
        twin.stop()
        files = sorted(twin.layout.ledger.parent.glob(f"{twin.layout.ledger.name}*"))
        ledger = entries + b"".join(path.read_bytes() for path in files)
        sent = model.requests[-1].partition("\n\n")[2].encode()
        # The first secret too, which was rotated away and is given back by nobody.
        spellings = _spellings([twin.canary, *stored])
        return CanaryRun(spellings, b"\n".join(came), sent, twin.log.read_bytes(), ledger, kept, passed)


def _store(twin: Twin, outside: Upstream, model: Upstream, secrets: dict[str, str]) -> None:
    """A credential of each form; the twin's own is put in another's place."""
    for name, injection in _FORMS.items():
        if name != SERVICE:
            binding = msgspec.structs.replace(twin.binding(outside.port), inject=injection)
            twin.operator.store(StoreCredential(service=name, secret=secrets[name], bindings=(binding,)))
    twin.operator.rotate(RotateCredential(service=SERVICE, secret=secrets[SERVICE]))
    binding = msgspec.structs.replace(twin.binding(model.port), methods=(Method.POST,))
    twin.operator.store(StoreCredential(service=_MODEL, secret=secrets[_MODEL], bindings=(binding,)))


def _use(twin: Twin, outside: Upstream) -> list[bytes]:
    """Every form of injection, by both forms of a request; all that came back."""
    came = []
    for name in _FORMS:
        path = "/bound/bot{credential}/echo" if name == "path" else "/bound/echo"
        message = {"method": "GET", "url": f"http://{outside.authority}{path}", "inject_credential": name}
        came.append(twin.everything("POST", "/http", message=message))
        target = f"/forward/http/{outside.authority}{path.replace('{', '%7B').replace('}', '%7D')}"
        came.append(twin.everything("GET", target, [(FORWARD_CREDENTIAL, name)]))
    return came


def _must_have_arrived(outside: Upstream, model: Upstream, secrets: dict[str, str]) -> None:
    forms = {name: _spellings([secret]) for name, secret in secrets.items()}
    for name, upstream in [*((name, outside) for name in _FORMS), (_MODEL, model)]:
        heads = b"\n".join(text.partition("\n\n")[0].encode() for text in upstream.requests)
        if not any(form in heads for family in forms[name].values() for form in family):
            message = f"the twin's credential {name} did not arrive, so nothing can be said of where it went"
            raise CannotShowError(message)


def _spellings(secrets: list[str]) -> dict[str, tuple[bytes, ...]]:
    return {
        family: tuple(form for secret in secrets for form in make(secret.encode()) if len(form) >= SHORTEST_FORM)
        for family, make in FORMS.items()
    }


def _passed(twin: Twin, outside: Upstream, secret: str) -> tuple[str, ...]:
    """Ways of writing that only a reader undoes; each is a whole answer: nothing else in it draws a second look."""
    mixtures = {
        "mixed escapes": _mixed(secret),
        "broken base64": _broken(base64.b64encode(secret.encode())),
        "hex in pairs": secret.encode().hex(":").upper().encode(),
    }
    passed = []
    for way, text in mixtures.items():
        outside.spellings = text
        target = f"/forward/http/{outside.authority}/bound{SPELLINGS_ALONE}"
        came = twin.everything("GET", target, [(FORWARD_CREDENTIAL, SERVICE)])
        if text in came:
            passed.append(way)
        elif REPLACEMENT not in came:
            message = f"the twin gives neither {way} back nor what stands in its place, so this shows nothing"
            raise CannotShowError(message)
    return tuple(passed)


def _mixed(secret: str) -> bytes:
    """Each character in another way of writing than the one before it."""
    ways = ("{0}", "%{1:02x}", "\\u{1:04x}", "&#{1};", "\\x{1:02X}")
    return "".join(ways[place % len(ways)].format(letter, ord(letter)) for place, letter in enumerate(secret)).encode()


def _broken(form: bytes) -> bytes:
    return b"\n".join(form[place : place + _PIECE] for place in range(0, len(form), _PIECE))


async def _keep(path: Path, came: list[bytes]) -> bytes:
    """What the gateway's own database holds after a run that was answered with all of this."""
    store = await Store.open(path)
    texts = [part.decode("utf-8", "replace") for part in came]
    chat = await store.chats.create("assistant")
    run = await store.runs.open(chat.id, "What does the host say?", "assistant", None)
    rows = [
        JournalRow(number, "tool_result", {"id": "1", "ok": True, "content": text}, now())
        for number, text in enumerate(texts, 1)
    ]
    await store.runs.close(run, RunState.FINISHED, code="answered", detail="", answer="\n".join(texts), rows=rows)
    await store.close()
    kept = b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))
    if b"you_sent" not in kept:
        message = "the twin's run was not kept, so nothing can be said of what is remembered of it"
        raise CannotShowError(message)
    return kept


def _not_in(run: CanaryRun, tried: str, text: bytes) -> Finding:
    found = run.found_in(text)
    happened = f"found as {', '.join(found)}" if found else f"{len(text)} bytes, in none of its spellings"
    return Finding(tried, happened, held=not found)
