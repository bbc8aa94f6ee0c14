"""Writes docs/reference from the code. With --check it writes nothing and fails where a page differs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from mycelos.configuration import operator_file
from mycelos.configuration.variables import FILE_SUFFIX, VARIABLES

REFERENCE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"

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

| key | meaning |
|---|---|
"""


def configuration_page() -> str:
    """The page on variables and files, as Markdown."""
    rows = [
        f"| `{each.name}` | {each.meaning} | {each.default or '-'} | {'yes' if each.is_secret else 'no'} |"
        for each in VARIABLES
    ]
    keys = [f"| `{key}` | {meaning} |" for key, meaning in operator_file.MEANINGS.items()]
    return _VARIABLES_INTRODUCTION + "\n".join(rows) + "\n" + _OPERATOR_INTRODUCTION + "\n".join(keys) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or compare them. Returns 0 where all is well, 1 where a page differs, 2 for wrong usage."""
    if arguments not in ([], ["--check"]):
        print("usage: generate_reference.py [--check]", file=sys.stderr)
        return 2
    pages = {REFERENCE / "configuration.md": configuration_page()}
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
