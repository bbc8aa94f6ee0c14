"""Writes the proxy's table of addresses from scripts/registries. With --check it says whether the table is current."""

from __future__ import annotations

import csv
import hashlib
import ipaddress
import json
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parent.parent
REGISTRIES: Final = ROOT / "scripts" / "registries"
TABLE: Final = ROOT / "src" / "mycelos" / "proxy" / "egress" / "address_table.py"

# Not `global` and `own`: no row of the table may say that an address can be dialled.
_CLASSES: Final = frozenset(
    {"private", "loopback", "link_local", "metadata", "shared", "multicast", "documentation", "transition", "reserved"}
)
_FOOTNOTE: Final = re.compile(r"\s*\[\d+\]$")
# Rows that are not affirmed to be reachable: refused by the registry, "N/A" (6to4, Teredo), or terminated (empty).
_NOT_REACHABLE: Final = frozenset({"False", "N/A", ""})


class RegistryError(Exception):
    """The files do not fit together; nothing is written."""


@dataclass(frozen=True)
class Row:
    """One refused prefix, as its file spells it: Python's versions differ in how they spell ::ffff:0:0/96."""

    prefix: str
    address_class: str
    what: str

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        """The prefix as a network; a spelling that is none is a ValueError."""
        return ipaddress.ip_network(self.prefix)

    @property
    def order(self) -> tuple[int, int, int]:
        """IPv4 first, then the narrowest first: the first prefix that holds an address is the one to report."""
        return self.network.version, -self.network.prefixlen, int(self.network.network_address)


def read_registry(folder: Path, name: str, digest: str, classes: dict[str, str]) -> Iterator[Row]:
    """The rows of one registry that are not globally reachable. ``classes`` loses each prefix that was met.

    Raises:
        RegistryError: the file is not the one that sources.toml tells of, or says something unforeseen.
    """
    content = (folder / name).read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        message = f"{name} is not the file that sources.toml tells of: write its new date and digest there"
        raise RegistryError(message)
    for record in csv.DictReader(content.decode("utf-8").splitlines(keepends=True)):
        reachable = _FOOTNOTE.sub("", record["Globally Reachable"])
        if reachable not in {"True", *_NOT_REACHABLE}:
            message = f"{name}: {record['Address Block']} is globally reachable: {reachable!r}"
            raise RegistryError(message)
        for block in _FOOTNOTE.sub("", record["Address Block"]).split(", "):
            address_class = classes.pop(block, "reserved")
            if reachable != "True":
                documents = re.findall(r"\[RFC(\d+)\]", record["RFC"])
                what = ", ".join([record["Name"].strip('"'), *(f"RFC {number}" for number in documents)])
                yield Row(block, address_class, what)


def read_rows(folder: Path) -> list[Row]:
    """Every refused prefix, in the order of the table.

    Raises:
        RegistryError: a file is not as it should be, or a prefix stands twice.
    """
    named = _read_toml(folder / "classes.toml")
    classes = {prefix: address_class for address_class, prefixes in named.items() for prefix in prefixes}
    rows = [
        row
        for source in _read_toml(folder / "sources.toml").values()
        for row in read_registry(folder, source["file"], source["sha256"], classes)
    ]
    if classes:
        message = f"classes.toml names what no registry has: {', '.join(classes)}"
        raise RegistryError(message)
    for addition in _read_toml(folder / "additions.toml")["addition"]:
        if set(addition) != {"prefix", "class", "what", "source"}:
            message = f"additions.toml: each addition has prefix, class, what and source: {addition}"
            raise RegistryError(message)
        rows.append(Row(addition["prefix"], addition["class"], addition["what"]))
    if len({row.network for row in rows}) != len(rows) or not {row.address_class for row in rows} <= _CLASSES:
        message = "a prefix stands twice, or has a class that the table cannot have"
        raise RegistryError(message)
    return sorted(rows, key=lambda row: row.order)


def render(folder: Path) -> str:
    """The table as a module of Python.

    Raises:
        RegistryError: see `read_rows`.
    """
    sources = _read_toml(folder / "sources.toml")
    lines = [
        '"""Which addresses are not the public internet, narrowest first.',
        "",
        "Written by scripts/generate_address_table.py: change scripts/registries, then run `make address-table`.",
        '"""',
        "",
        "from typing import Final",
        "",
        "REGISTRIES: Final = {",
        *(f'    {json.dumps(source["title"])}: "{source["updated"]}",' for source in sources.values()),
        "}",
        '"""When each registry was last updated, as the rows below have it."""',
        "",
        "ROWS: Final = (",
        *(f'    ("{row.prefix}", "{row.address_class}", {json.dumps(row.what)}),' for row in read_rows(folder)),
        ")",
        '"""Prefix, class (a value of `AddressClass`) and what it is."""',
    ]
    return "\n".join(lines) + "\n"


def _read_toml(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def main(arguments: list[str], folder: Path = REGISTRIES, table: Path = TABLE) -> int:
    """Write the table, or compare it. Returns 0 where all is well, 1 where it is not, 2 for wrong usage."""
    if arguments not in ([], ["--check"]):
        print("usage: generate_address_table.py [--check]", file=sys.stderr)
        return 2
    try:
        text = render(folder)
    except RegistryError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments:
        table.write_text(text, "utf-8")
        return 0
    if not table.is_file() or table.read_text("utf-8") != text:
        print(f"{table.name} is not what the registries say; run: make address-table")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
