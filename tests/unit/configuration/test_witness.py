from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.configuration.environment import ConfigurationError, read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.operator_file import parse_operator_file
from mycelos.configuration.witness import WitnessSettings, witness_settings

KEY = "witness.example+1a2b3c4d+BAAA"


def settings(layout: DataLayout, variable: str | None = None, table: str = "") -> WitnessSettings:
    environ = {} if variable is None else {"MYCELOS_WITNESS": variable}
    file = parse_operator_file(f"[witness]\n{table}\n".encode(), "operator.toml")
    return witness_settings(read_environment(environ), file, layout)


def test_nothing_is_set_by_default(layout: DataLayout) -> None:
    assert settings(layout) == WitnessSettings()


def test_the_variable_is_a_file_or_a_url(layout: DataLayout) -> None:
    file = settings(layout, "/mnt/other/ledger.notes")
    assert (file.file, file.url, file.file_name) == (Path("/mnt/other/ledger.notes"), None, "MYCELOS_WITNESS")
    url = settings(layout, "HTTPS://witness.example/w1")
    assert (url.file, url.url, url.url_name) == (None, "HTTPS://witness.example/w1", "MYCELOS_WITNESS")


def test_file_and_url_may_come_from_both_places(layout: DataLayout) -> None:
    both = settings(layout, "/mnt/other/notes", f'url = "https://witness.example"\nkey = "{KEY}"')
    assert (both.file, both.url, both.key) == (Path("/mnt/other/notes"), "https://witness.example", KEY)
    turned = settings(layout, "https://witness.example", f'file = "/mnt/other/notes"\nkey = "{KEY}"')
    assert (turned.file, turned.url, turned.key) == (both.file, both.url, both.key)


@pytest.mark.parametrize(
    ("variable", "table", "named"),
    [
        ("/a/b", 'file = "/c/d"', "MYCELOS_WITNESS and witness.file in operator.toml are both set"),
        ("https://a", 'url = "https://a"', "MYCELOS_WITNESS and witness.url in operator.toml are both set"),
        (None, 'url = "ftp://a"', "witness.url in operator.toml must be https://"),
        (None, 'url = "/a/b"', "witness.url in operator.toml must be https://"),
        (None, 'file = "https://a"', "witness.file in operator.toml must be the absolute path"),
        ("notes", "", "MYCELOS_WITNESS must be the absolute path"),
        ("witness.example", "", "MYCELOS_WITNESS must be the absolute path"),
        ("/a/b/", "", "MYCELOS_WITNESS must be the absolute path"),
        (None, f'key = "{KEY}"', "witness.key in operator.toml is the key of a witness with a URL"),
        ("/a/b", f'key = "{KEY}"', "witness.key in operator.toml is the key of a witness with a URL"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_fix(
    layout: DataLayout, variable: str | None, table: str, named: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings(layout, variable, table)
    assert named in str(refused.value)


def test_an_unknown_key_is_refused_with_the_nearest_one(layout: DataLayout) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown key witness\.vkey; .* witness\.key"):
        settings(layout, None, 'vkey = "x"')


def test_a_file_where_proxy_or_gateway_write_is_refused_however_it_is_spelled(
    layout: DataLayout, tmp_path: Path
) -> None:
    for folder in (layout.proxy, layout.gateway):
        folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "link").symlink_to(layout.proxy)
    for path in (
        layout.proxy / "notes",
        layout.proxy / "deep" / "notes",
        layout.gateway / "notes",
        layout.gateway_file.parent / "notes",
        tmp_path / "link" / "notes",
        layout.root / "gateway" / ".." / "proxy" / "notes",
    ):
        with pytest.raises(ConfigurationError, match="folder of the proxy or the gateway"):
            settings(layout, str(path))
    assert settings(layout, str(layout.root / "notes")).file == layout.root / "notes"
