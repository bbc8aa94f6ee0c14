"""Cases that other people have published, where they lie beside the project; without them a test says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


def published(name: str) -> Iterator[dict[str, Any]]:
    """Each case of one file of lines of JSON."""
    path = FOLDER / name
    if not path.is_file():
        print(f"the published cases in {name} are not beside the project; ours alone were tried")
        return
    for line in path.read_text().splitlines():
        yield json.loads(line)
