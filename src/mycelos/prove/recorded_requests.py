"""Of I2: what the proxy itself puts on record of requests and refusals, which are of the gateway's wording."""

from __future__ import annotations

import secrets

import msgspec

from mycelos.ledger.events import SUSPICIOUS
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.binding import Basic
from mycelos.wire.operator import StoreCredential
from mycelos.wire.secret_forms import secret_forms


def requests_that_say_a_secret() -> list[Finding]:
    """Requests and refusals that say a stored secret in each text that the proxy itself puts on record."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        # In lower case: it can be the name of a host and of a service too.
        secret = f"plain-{secrets.token_hex(12)}"
        binding = msgspec.structs.replace(twin.binding(upstream.port), inject=Basic("robot"))
        twin.operator.store(StoreCredential(service="plain", secret=secret, bindings=(binding,)))
        bound = f"http://{upstream.authority}/bound"
        if twin.use(f"{bound}/harmless", run_id="a-harmless-run").status != 200 or not _on_record(twin, b"harmless"):
            message = "the twin's requests are not on record at all, so nothing can be said of what stands there"
            raise CannotShowError(message)
        began = len(twin.entries())
        tried = {
            "path": twin.use(f"{bound}/bot{secret}/me"),
            "path in another spelling": twin.use(f"{bound}/{secret.encode().hex()}"),
            "path where no credential is used": twin.use(f"{bound}/{secret}", with_credential=False),
            "run, agent and purpose": twin.use(f"{bound}/x", run_id=secret, agent=secret, purpose=secret),
            "run of what is no URL": twin.use("nonsense", run_id=secret),
            "service": twin.use(f"{bound}/x", inject_credential=secret),
            "host": twin.use(f"http://{secret}.example/", with_credential=False),
            "service that is to be given out": twin.gateway("POST", "/credential/materialize", {"service": secret}),
        }
        twin.stop()
        held = not any(_on_record(twin, form) for form in secret_forms(secret.encode()))
        seen = [entry for entry in twin.entries()[began:] if entry.event in SUSPICIOUS]
        return [
            Finding(f"have a stored secret put on record by the proxy itself, as the {', the '.join(tried)}",
                    "not there" if held else "it is there", held=held),
            Finding("send a stored secret in plain unnoticed",
                    f"{len(seen)} suspicious entries for {len(tried)} requests, {len(upstream.requests) - 1} sent",
                    held=len(seen) >= len(tried) and len(upstream.requests) == 1),
        ]  # fmt: skip


def _on_record(twin: Twin, text: bytes) -> bool:
    files = twin.layout.ledger.parent.glob(f"{twin.layout.ledger.name}*")
    entries = b"\n".join(str(tuple(entry)).encode() for entry in twin.entries())
    return text in entries or any(text in path.read_bytes() for path in files)
