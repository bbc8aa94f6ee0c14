"""No file of the project names a package registry's host, an index, or a place on one machine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Written in pieces, so that this file does not name what it forbids.
_HOSTS = (
    ("py", "pi.org"),
    ("python", "hosted.org"),
    ("npm", "js.org"),
    ("npm", "js.com"),
    ("crates", ".io"),
    ("proxy.go", "lang.org"),
    ("deb.", "debian.org"),
    ("security.", "debian.org"),
    ("rubygems", ".org"),
    ("repo.maven.", "apache.org"),
)
FORBIDDEN = {
    "a package registry's host": "|".join(re.escape(first + second) for first, second in _HOSTS),
    "an index": r"(?<!no-emit-)inde[x]-url|PIP_INDE[X]|UV_(DEFAULT_)?INDE[X]|(?<!no-emit-)find-link[s]",
    "a place on one machine": r"(?<![\w./~-])/wor[k]/|/roo[t]/\.|/opt/py[p]i|/home/(?!ada\b)[a-z]+/|\.pyen[v]/",
    "a tool of the workplace": r"farm-studi[o]|\bissue[s] show\b|\bissu[e] #?[0-9]+\b|\bbrief\.m[d]\b",
}


def findings(text: str) -> list[str]:
    return [
        f"{what}: {found[0]}"
        for what, pattern in FORBIDDEN.items()
        for found in re.finditer(pattern, text, re.IGNORECASE)
    ]


def project_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_no_file_of_the_project_names_a_registry_an_index_or_a_machine() -> None:
    found = []
    for path in project_files():
        content = path.read_bytes()
        if b"\0" not in content:
            found += [f"{path.relative_to(ROOT)}: {finding}" for finding in findings(content.decode(errors="replace"))]
    assert found == []


def test_the_whole_project_is_looked_at() -> None:
    names = {str(path.relative_to(ROOT)) for path in project_files()}
    assert {"pyproject.toml", "requirements/dev.txt", "Makefile", ".ci/run", "tests/conftest.py"} <= names


@pytest.mark.parametrize(
    "text",
    [
        "https://files." + "python" + "hosted.org/packages",
        "--inde" + "x-url http://mirror.lan",
        "PIP_INDE" + "X_URL=x",
        "# via -r /wor" + "k/main/requirements/dev.in",
        "/roo" + "t/.cache",
        "see issu" + "e 12",
    ],
)
def test_the_check_sees_each_kind(text: str) -> None:
    assert findings(text)


@pytest.mark.parametrize(
    "text",
    ["--no-emit-inde" + "x-url", "GET /repos/acme/site/issues", "https://api.github.com/", "~/wor" + "k/x"],
)
def test_the_check_lets_others_pass(text: str) -> None:
    assert findings(text) == []
