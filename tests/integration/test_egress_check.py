"""The development set through the command itself, with a name server of ours behind MYCELOS_DNS."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from dns_server import DnsServer

from mycelos.proxy.egress.url import parse_host

pytestmark = pytest.mark.anyio

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "ssrf_dev.jsonl"
ROWS = [json.loads(line) for line in VECTORS.read_text("utf-8").splitlines()]
# The proxy follows nothing: what only a follower can refuse is allowed here, each hop for itself.
FOLLOWER_ONLY = {"downgrade https to http", "redirect loop over the limit"}


def records_of(row: dict[str, Any]) -> dict[str, list[list[str]]]:
    """The row's answers as questions; without any, one public name."""
    found: defaultdict[str, list[list[str]]] = defaultdict(list)
    for name, lists in row.get("dns", {"example.com": [["93.184.216.34"]]}).items():
        owner = parse_host(name.rstrip("."))
        for addresses in lists:
            by_kind: dict[str, list[str]] = {"A": [], "AAAA": []}
            for text in addresses:
                if text.startswith("CNAME:"):
                    by_kind["A"].insert(0, f"CNAME {text.removeprefix('CNAME:')}.")
                else:
                    by_kind["A" if ipaddress.ip_address(text).version == 4 else "AAAA"].append(text)
            for kind, records in by_kind.items():
                found[f"{owner}. {kind}"].append(records)
    return dict(found)


def urls_of(row: dict[str, Any]) -> list[str]:
    urls = [row["url"]]
    for location in row.get("redirects", []):
        urls.append(urljoin(urls[-1], location))
    return urls


async def test_none_of_the_development_set_is_wrong_in_either_direction(tmp_path: Path) -> None:
    server = DnsServer({})
    host, port = await server.start()
    environment = {"PATH": os.environ["PATH"], "MYCELOS_DNS": f"{host}:{port}", "MYCELOS_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-I", "-m", "mycelos.cli.main", "egress", "check", "--resolve", "-"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert process.stdin is not None
    assert process.stdout is not None
    wrong, judged = [], 0
    try:
        async with asyncio.timeout(120):
            for row in ROWS:
                server.answers = records_of(row)
                allowed = True
                for url in urls_of(row):
                    if any(line_end in url for line_end in "\r\n"):
                        # It is no line of standard input; the unit test of the same rows judges it.
                        allowed = False
                        continue
                    process.stdin.write(f"{url}\n".encode("utf-8", "surrogatepass"))
                    # Each line is answered before the next one is written.
                    allowed &= json.loads(await process.stdout.readline())["allowed"]
                judged += 1
                if allowed is not (row["expect"] == "allow" or row["why"] in FOLLOWER_ONLY):
                    wrong.append(row)
            process.stdin.close()
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        server.stop()
    assert wrong == []
    assert judged == len(ROWS) == 206
