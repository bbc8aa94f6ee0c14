# ruff: noqa: INP001, T201 - a script that talks to a person
"""How long bytes of a used credential stay in a proxy's memory, where no object holds them any more.

    sudo .venv/bin/python benchmarks/residual_memory.py [--seconds 120]

A figure and no bound: what the allocators do with freed memory is theirs. It is measured by reading all of the
process's memory from outside, at growing distances from the last use, on a proxy that is idle and on one that is busy.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path

from mycelos.prove.twin import Twin
from mycelos.prove.upstream import Upstream
from mycelos.wire.secret_forms import secret_forms

USES = 20
MOMENTS = (0.0, 1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r\S* \S+ \S+ \S+ *(.*)")


def count(pid: int, forms: list[bytes]) -> int:
    """How often a form stands in the memory of a process."""
    found = 0
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = MAPPING.match(line)
            if match is None or match[3].startswith(("[vvar", "[vsyscall")):
                continue
            start, end = int(match[1], 16), int(match[2], 16)
            try:
                data = os.pread(memory.fileno(), end - start, start)
            except OSError:
                # A mapping that ended meanwhile, or that goes beyond its file.
                continue
            found += sum(data.count(form) for form in forms)
    return found


def measure(seconds: float, *, busy: bool) -> None:
    """Use the canary, then look again and again."""
    with Upstream(keeps_alive=True) as upstream, Twin(upstream.port) as twin:
        pid = twin.pid
        forms = secret_forms(twin.canary.encode())
        print(f"{'busy' if busy else 'idle'} proxy: {count(pid, forms)} places after storing, ", end="")
        for _ in range(USES):
            twin.use(f"http://{upstream.authority}/bound/echo")
        last = time.monotonic()
        for moment in [moment for moment in MOMENTS if moment <= seconds]:
            while time.monotonic() < last + moment:
                if busy:
                    twin.gateway("POST", "/credential/list")
                else:
                    time.sleep(0.1)
            print(f"{count(pid, forms)} after {moment:g} s", end=", ", flush=True)
        print(f"{USES} uses with an echo")


def main() -> None:
    """Both."""
    parser = argparse.ArgumentParser(description="Measure residual bytes of a credential in a proxy's memory.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to look after the last use")
    seconds = parser.parse_args().seconds
    for busy in (False, True):
        measure(seconds, busy=busy)


if __name__ == "__main__":
    main()
