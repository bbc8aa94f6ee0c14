"""Writes docs/reference, and one page of docs/security, from the code.

With --check it writes nothing and fails where a page differs.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Final

from mycelos.configuration import operator_file
from mycelos.configuration.variables import FILE_SUFFIX, VARIABLES
from mycelos.gateway import settings
from mycelos.ledger.events import Event
from mycelos.prove.everything import GATEWAY, OPERATOR, QUIET, STEPS
from mycelos.wire.secret_forms import FORMS, MEANINGS, SHORTEST_FORM

ROOT: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = ROOT / "docs" / "reference"

_VARIABLES_INTRODUCTION: Final = f"""\
# Configuration

<!-- Written by scripts/generate_reference.py: change the code, then run `make reference`. -->

## Environment variables

An unknown name that begins with `MYCELOS_` is an error that names the nearest one that exists. For a secret,
`NAME{FILE_SUFFIX}` may give the path of a file that holds it; both at once is an error.

Variables are read at each start and kept nowhere: give them to `scripts/install.sh` and to `mycelos serve` each time.
`mycelos config check` says whether they can be used.

| variable | meaning | default | secret |
|---|---|---|---|
"""

_OPERATOR_INTRODUCTION: Final = """
## operator.toml

In the data folder, owned by the user that runs Mycelos, mode 0600. The gateway cannot read it. An unknown key is an
error that names the nearest one that exists.

| key | meaning | default |
|---|---|---|
"""

_GATEWAY_INTRODUCTION: Final = """
## gateway/gateway.toml

Below the data folder, a plain file. It lies beside `gateway/state`, the one folder that the gateway writes, so that a
gateway that was taken over cannot write its own next settings. It is read when the gateway starts. Where it cannot be
used, the gateway alone does not start: proxy and vault page do. `mycelos config check` reads it too.

| key | meaning | default |
|---|---|---|
"""

_EXAMPLE: Final = 'k3y/+"<ü'
_FORMS_INTRODUCTION: Final = f"""\
# Spellings of a secret

<!-- Written by scripts/generate_reference.py: change the code, then run `make reference`. -->

One table, `mycelos.wire.secret_forms`, names the spellings in which a stored secret is looked for: by the scrubber in
each answer of a bound host, by the probes of `mycelos prove`, and by the sweep of the tests. A derived spelling that is
shorter than {SHORTEST_FORM} bytes is left out: it says too little and stands everywhere by chance.

The scrubber reads each answer in further ways, in which spellings are mixed, escaped again or broken into lines: see
ADR 5. What neither finds is in `docs/limitations.md`.

The examples spell `{_EXAMPLE}`; bytes that no text holds are shown in hexadecimal.

| family | what it is | spellings of the example |
|---|---|---|
"""

_ROUTES_INTRODUCTION: Final = """\
# The routes of the proxy's doors

<!-- Written by scripts/generate_reference.py: change the code, then run `make reference`. -->

Any other route of either door is refused and recorded as `proxy.auth_failed`, as is a wrong bearer.
"""
_GATEWAYS_DOOR: Final = """
## The gateway's door

| method | route | on record, among others |
|---|---|---|
"""
_OPERATORS_DOOR: Final = """
## The operator's door

A Unix socket in the data folder, for the `mycelos` commands and the vault page.

| method | route | on record, among others |
|---|---|---|
"""


def _default(key: str, value: object) -> str:
    for name in key.split("."):
        value = getattr(value, name)
    return "none" if value == () else str(value)


def configuration_page() -> str:
    """The page on variables and files, as Markdown."""
    rows = [
        f"| `{each.name}` | {each.meaning} | {each.default or '-'} | {'yes' if each.is_secret else 'no'} |"
        for each in VARIABLES
    ]
    parts = [_VARIABLES_INTRODUCTION, *_lines(rows)]
    for introduction, meanings, values in (
        (_OPERATOR_INTRODUCTION, operator_file.MEANINGS, operator_file.OperatorFile()),
        (_GATEWAY_INTRODUCTION, settings.MEANINGS, settings.GatewaySettings()),
    ):
        keys = [f"| `{key}` | {meaning} | {_default(key, values)} |" for key, meaning in meanings.items()]
        parts += [introduction, *_lines(keys)]
    return "".join(parts)


def forms_page() -> str:
    """The page on the spellings of a secret, as Markdown."""
    rows = []
    for family, spell in FORMS.items():
        spelled = dict.fromkeys(map(_shown, spell(_EXAMPLE.encode())))
        # A pipe would end the cell; a backquote stands in none.
        examples = "<br>".join(f"`{text}`" for text in spelled).replace("|", "\\|")
        rows.append(f"| {family} | {MEANINGS[family]} | {examples} |")
    return "".join([_FORMS_INTRODUCTION, *_lines(rows)])


def routes_page() -> str:
    """The page on the routes of the proxy's doors, as Markdown: from the tables that a test holds against the doors."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for step in STEPS:
        if step.bearer is None and step.event is not Event.PROXY_AUTH_FAILED:
            found.setdefault((step.door, step.method, step.route), []).append(f"`{step.event}`")
    found |= {place: [f"nothing: {why}"] for place, (why, _) in QUIET.items()}
    parts = [_ROUTES_INTRODUCTION]
    for door, title in ((GATEWAY, _GATEWAYS_DOOR), (OPERATOR, _OPERATORS_DOOR)):
        routes = sorted((route, method, left) for (at, method, route), left in found.items() if at == door)
        rows = [f"| {method} | `{route}` | {', '.join(dict.fromkeys(left))} |" for route, method, left in routes]
        parts += [title, *_lines(rows)]
    return "".join(parts)


def attacks_page() -> str:
    """The page on attacks on the ledger, as Markdown: what the tests of claim L2 do and compare."""
    # It lies with the tests, which are no package.
    place = ROOT / "tests" / "support" / "ledger_matrix.py"
    return str(runpy.run_path(str(place))["page"]())


def _shown(form: bytes) -> str:
    try:
        text = form.decode("utf-8")
    except UnicodeDecodeError:
        return form.hex(" ")
    return text if text.isprintable() else form.hex(" ")


def _lines(rows: list[str]) -> list[str]:
    return [f"{row}\n" for row in rows]


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them. Returns 0 where all is well, 1 where a page differs, 2 for wrong usage."""
    if arguments not in ([], ["--check"]):
        print("usage: generate_reference.py [--check]", file=sys.stderr)
        return 2
    pages = {
        ROOT / "docs" / "security" / "ledger-attacks.md": attacks_page(),
        REFERENCE / "configuration.md": configuration_page(),
        REFERENCE / "proxy-routes.md": routes_page(),
        REFERENCE / "secret-forms.md": forms_page(),
    }
    if arguments:
        stale = [path for path, text in pages.items() if not path.is_file() or path.read_text("utf-8") != text]
        for path in stale:
            print(f"{path.name} is not what the code says; run: make reference")
        return 1 if stale else 0
    for path, text in pages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
