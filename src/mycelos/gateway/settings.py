"""`gateway.toml`: limits that a person may change. An unknown key is an error that names the nearest one.

The file lies beside the folder that the gateway writes: a gateway that was taken over cannot write what the next one
starts with. It is read before the walls are put up, behind which it cannot be seen.
"""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from mycelos.configuration.environment import ConfigurationError
from mycelos.wire.decoding import describe
from mycelos.wire.runner import Limits

if TYPE_CHECKING:
    from pathlib import Path

_SIZE_LIMIT: Final = 256 * 1024


class RunSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table ``[runs]``: what one run may use, and how many go on at once."""

    model_requests: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    tool_calls: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 40
    answer_characters: Annotated[int, msgspec.Meta(ge=1000, le=2_000_000)] = 200_000
    seconds: Annotated[int, msgspec.Meta(ge=10, le=86_400)] = 1800
    at_once: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    waiting: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 50

    @property
    def limits(self) -> Limits:
        """The part that the runner is told."""
        return Limits(
            model_requests=self.model_requests,
            tool_calls=self.tool_calls,
            answer_characters=self.answer_characters,
        )


class GatewaySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    runs: RunSettings = msgspec.field(default_factory=RunSettings)


MEANINGS: Final = {
    "runs.model_requests": "requests to the model that one run may make",
    "runs.tool_calls": "tool calls that one run may make",
    "runs.answer_characters": "characters of one answer",
    "runs.seconds": "seconds after which a run is ended",
    "runs.at_once": "runs that go on at the same time",
    "runs.waiting": "runs that wait for their turn; further ones are refused",
}
"""What each key of the file is for."""


@dataclass(frozen=True)
class _Level:
    name: str
    keys: tuple[str, ...]


_LEVELS: Final = (_Level("", GatewaySettings.__struct_fields__), _Level("runs", RunSettings.__struct_fields__))


def read_settings(path: Path) -> GatewaySettings:
    """The settings in the file at ``path``; the defaults where there is no file.

    Raises:
        ConfigurationError: the file cannot be used; the text names the file, the key and the fix.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return GatewaySettings()
    except OSError:
        message = f"{path} cannot be read; it must be a plain file of this user"
        raise ConfigurationError(message) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            message = f"{path} is not a plain file; put one in its place, or remove it"
            raise ConfigurationError(message)
        data = os.read(descriptor, _SIZE_LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(data) > _SIZE_LIMIT:
        message = f"{path} is larger than {_SIZE_LIMIT} bytes; shorten it"
        raise ConfigurationError(message)
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        message = f"{path} is not TOML: it is not UTF-8 text; write it anew"
        raise ConfigurationError(message) from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        message = f"{path} is not TOML: {error}; correct it, or remove the file for the defaults"
        raise ConfigurationError(message) from None
    _refuse_unknown(path, table)
    try:
        return msgspec.convert(table, type=GatewaySettings)
    except msgspec.ValidationError as error:
        message = f"{path}: {describe(error, 'the file')}; correct the value, or remove the key for its default"
        raise ConfigurationError(message) from None


def _refuse_unknown(path: Path, table: dict[str, Any]) -> None:
    for level in _LEVELS:
        found = table if not level.name else table.get(level.name)
        if not isinstance(found, dict):
            continue
        for key in found:
            if key not in level.keys:
                near = difflib.get_close_matches(key, level.keys, n=1, cutoff=0.0)[0]
                place = f"[{level.name}] " if level.name else ""
                message = f"{path}: unknown key {place}{key}; the nearest one that exists is {near}"
                raise ConfigurationError(message)
