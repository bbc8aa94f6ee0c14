"""Who is given the ledger's checkpoints: MYCELOS_WITNESS and the table `witness` of operator.toml, as one setting."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.environment import ConfigurationError

if TYPE_CHECKING:
    from mycelos.configuration.environment import Environment
    from mycelos.configuration.layout import DataLayout
    from mycelos.configuration.operator_file import OperatorFile

VARIABLE: Final = "MYCELOS_WITNESS"
FILE_KEY: Final = "witness.file in operator.toml"
URL_KEY: Final = "witness.url in operator.toml"
VKEY_KEY: Final = "witness.key in operator.toml"

_URL: Final = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class WitnessSettings:
    """A file, a URL, both or none. ``*_name`` is the setting that gave it, for messages; ``key`` is the URL's vkey."""

    file: Path | None = None
    url: str | None = None
    key: str | None = None
    file_name: str = FILE_KEY
    url_name: str = URL_KEY


def witness_settings(environment: Environment, operator_file: OperatorFile, layout: DataLayout) -> WitnessSettings:
    """The settings in force, each checked for its form; no file is opened and no name resolved.

    Raises:
        ConfigurationError: a value cannot be used. The text names the setting and the fix.
    """
    table, given = operator_file.witness, environment.witness
    file, file_name = table.file, FILE_KEY
    url, url_name = table.url, URL_KEY
    if given is not None and _URL.match(given):
        _demand_one(url, URL_KEY)
        url, url_name = given, VARIABLE
    elif given is not None:
        _demand_one(file, FILE_KEY)
        file, file_name = given, VARIABLE
    if url is not None and not _URL.match(url):
        message = f"{url_name} must be https://host/path, or http:// for a host that MYCELOS_EGRESS_OPEN names"
        raise ConfigurationError(message)
    if table.key is not None and url is None:
        message = f"{VKEY_KEY} is the key of a witness with a URL, and none is set; set witness.url or remove the key"
        raise ConfigurationError(message)
    path = None if file is None else _path(file, file_name, layout)
    return WitnessSettings(path, url, table.key, file_name, url_name)


def _demand_one(other: str | None, name: str) -> None:
    if other is not None:
        message = f"{VARIABLE} and {name} are both set; keep one"
        raise ConfigurationError(message)


def _path(text: str, name: str, layout: DataLayout) -> Path:
    path = Path(text)
    if not path.is_absolute() or text.endswith("/"):
        message = f"{name} must be the absolute path of a file, or a URL that begins with https://, not {text!r}"
        raise ConfigurationError(message)
    try:
        place = path.parent.resolve()
        # Whoever can write there can write the ledger: it would be no witness.
        is_own = any(place.is_relative_to(zone.resolve()) for zone in (layout.proxy, layout.gateway.parent))
    except (OSError, RuntimeError):
        is_own = False
    if is_own:
        message = (
            f"{name}: {path} lies in a folder of the proxy or the gateway, so whoever can change the ledger can change "
            "it too; name a file elsewhere, best on another disk"
        )
        raise ConfigurationError(message)
    return path
