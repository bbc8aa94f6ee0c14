"""V1, V2, D3: what lies on the disk, the key's file, and what the gateway's bearer cannot do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.layout import DataLayout
from mycelos.prove.outcome import CannotShowError, Finding
from mycelos.prove.twin import SERVICE, Twin
from mycelos.prove.upstream import Upstream
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import create_master_key, read_master_key
from mycelos.proxy.vault.store import Vault
from mycelos.wire.problems import Refusal
from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from mycelos.prove.installation import Installation

_OPERATOR_ROUTES: Final = (
    "/credential/store",
    "/credential/rotate",
    "/credential/delete",
    "/credential/bind",
    "/egress/rules",
    "/link/create",
    "/link/redeem",
    "/key/rotate",
    "/lockdown",
    "/token/rotate",
    "/mcp/register",
)
_SEALED: Final = ("bindings", "label", "payload", "wrapped_key")
"""Columns of a stored credential that the seal must cover."""


def probe_storage(_installation: Installation) -> list[Finding]:
    """V1: store and use a canary, search every file for it, then change the record, and try another key."""
    with Upstream() as upstream, Twin(upstream.port) as twin:
        answer = twin.use(f"http://127.0.0.1:{upstream.port}/bound/item")
        if answer.status != 200 or not any(twin.canary in text for text in upstream.requests):
            message = "the twin's credential could not be used, so nothing can be said of where it lies"
            raise CannotShowError(message)
        running = _files_with(twin.folder, twin.canary)
        twin.stop()
        stopped = _files_with(twin.folder, twin.canary)
        tried = "store a credential, use it, and search every file of the twin for it in every spelling"
        found = sorted({*running, *stopped})
        happened = f"found in {', '.join(found)}" if found else "found in none, running and stopped"
        return [Finding(tried, happened, held=not found), *_changed_records(twin), _other_key(twin)]


def probe_key_file(installation: Installation) -> list[Finding]:
    """V2: the key's file as it is here, and making a key where one is."""
    path = installation.layout.master_key
    tried = f"read {path.name} as another user would"
    try:
        status = path.lstat()
    except FileNotFoundError:
        message = f"there is no {path}; the key comes from the environment, or the system was never set up"
        raise CannotShowError(message) from None
    mode = stat.S_IMODE(status.st_mode)
    is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    findings = [
        Finding(tried, f"its mode is {mode:04o}", held=not mode & 0o077),
        Finding("find a link in its place, or another owner's file",
                f"{'a plain file' if is_plain else 'not a plain file with one name'} of user {status.st_uid}",
                held=is_plain and status.st_uid in {os.geteuid(), path.parent.stat().st_uid}),
    ]  # fmt: skip
    parent = stat.S_IMODE(path.parent.stat().st_mode)
    findings.append(
        Finding("put another file in its place as another user", f"the folder's mode is {parent:04o}",
                held=not parent & 0o022)
    )  # fmt: skip
    return [*findings, *_making_a_second_key()]


def probe_bearer(_installation: Installation) -> list[Finding]:
    """D3: everything that a gateway in hostile hands could do with its bearer to get at a credential."""
    with Upstream() as bound, Upstream() as thief, Twin(bound.port, (thief.port,)) as twin:
        at_bound = f"http://127.0.0.1:{bound.port}"
        before = twin.operator.credentials()
        opened = [route for route in _OPERATOR_ROUTES if twin.gateway("POST", route, {}).status not in {404, 405}]
        findings = [
            Finding("change credentials, bindings, rules, keys by the gateway's bearer", _routes(opened),
                    held=not opened and twin.operator.credentials() == before),
        ]  # fmt: skip
        for url in (
            f"{at_bound}/elsewhere",
            f"{at_bound}/bound/../elsewhere",
            f"http://127.0.0.1:{thief.port}/bound/item",
            f"http://127.0.0.1.nip.invalid:{bound.port}/bound/item",
        ):
            answer = twin.use(url)
            shown = url.replace(str(thief.port), "THIEF").replace(str(bound.port), "BOUND")
            findings.append(Finding(f"send the credential to {shown}", _refused(answer.status, answer.code),
                                    held=answer.status >= 400))  # fmt: skip
        leaked = [text for text in [*bound.requests, *thief.requests] if twin.canary in text]
        findings.append(Finding("see the credential arrive where it is not bound",
                                f"it arrived {len(leaked)} times", held=not leaked))  # fmt: skip
        echoed = twin.use(f"{at_bound}/bound/echo")
        arrived = any(twin.canary in text for text in bound.requests)
        findings.append(Finding("let a bound service send the credential back",
                                "it was sent, and the answer does not hold it",
                                held=arrived and not _holds(str(echoed.body), twin.canary)))  # fmt: skip
        for route, message in (("/credential/materialize", {"service": SERVICE}), ("/credential/list", {})):
            answer = twin.gateway("POST", route, message)
            findings.append(Finding(f"find the credential in the answer of {route}",
                                    f"status {answer.status}, without it",
                                    held=not _holds(str(answer.body), twin.canary)))  # fmt: skip
        answer = twin.gateway("POST", "/credential/list", bearer="x" * 64)
        findings.append(Finding("come with another bearer", _refused(answer.status, answer.code),
                                held=answer.status == 401))  # fmt: skip
        return findings


def _files_with(folder: Path, canary: str) -> list[str]:
    forms = secret_forms(canary.encode())
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and any(form in path.read_bytes() for form in forms)
    ]


def _holds(text: str, canary: str) -> bool:
    return any(form in text.encode() for form in secret_forms(canary.encode()))


def _changed_records(twin: Twin) -> list[Finding]:
    return [
        Finding(f"change one bit of the stored record's {column}", happened, held)
        for column in _SEALED
        for happened, held in [_open_changed(twin, column)]
    ]


def _open_changed(twin: Twin, column: str) -> tuple[str, bool]:
    with tempfile.TemporaryDirectory(prefix="mycelos-twin-") as name:
        layout = DataLayout(Path(name))
        shutil.copytree(twin.layout.proxy, layout.proxy, ignore=shutil.ignore_patterns("*.sock"))
        connection = sqlite3.connect(layout.vault)
        (value,) = connection.execute(f"SELECT {column} FROM credential_versions").fetchone()  # noqa: S608 - our own
        changed = bytes([value[0] ^ 1]) + value[1:] if isinstance(value, bytes) else chr(ord(value[0]) ^ 1) + value[1:]
        connection.execute(f"UPDATE credential_versions SET {column} = ?", (changed,))  # noqa: S608 - our own
        connection.commit()
        connection.close()
        return _try_to_open(layout, read_master_key(twin.layout.master_key), twin.canary)


def _other_key(twin: Twin) -> Finding:
    happened, held = _try_to_open(twin.layout, os.urandom(32), twin.canary)
    return Finding("open the vault with another key", happened, held)


def _try_to_open(layout: DataLayout, key: bytes, canary: str) -> tuple[str, bool]:
    """What came of opening the credential, and whether it stayed closed."""
    try:
        vault = Vault.open(layout, key)
    except VaultError:
        return "the vault does not open", True
    try:
        credential = vault.find(SERVICE)
        if credential is None:
            return "the record is not taken for a credential", True
        with vault.open_secret(credential) as secret:
            return "it opened", secret.reveal() != canary.encode()
    except Refusal as refusal:
        return f"refused ({refusal.problem.code.value})", True
    finally:
        vault.close()


def _making_a_second_key() -> list[Finding]:
    with tempfile.TemporaryDirectory(prefix="mycelos-twin-") as name:
        layout = DataLayout(Path(name))
        first = create_master_key(layout).read_bytes()
        mode = stat.S_IMODE(layout.master_key.stat().st_mode)
        try:
            create_master_key(layout)
            happened = "a second one was made"
        except VaultError:
            happened = "refused"
        kept = layout.master_key.read_bytes() == first
        return [
            Finding("make a key (in a twin) and look at its file", f"its mode is {mode:04o}", held=mode == 0o600),
            Finding("make a key where one is", f"{happened}; the first is {'kept' if kept else 'lost'}",
                    held=kept and happened == "refused"),
        ]  # fmt: skip


def _routes(opened: list[str]) -> str:
    return f"answered: {', '.join(opened)}" if opened else f"{len(_OPERATOR_ROUTES)} routes, none is there"


def _refused(status: int, code: str) -> str:
    return f"status {status} {code}".rstrip()
