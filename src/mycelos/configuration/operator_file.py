"""Reading `operator.toml`: what the person who runs the machine has decided. The gateway never sees it."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec

from mycelos.configuration.environment import ConfigurationError
from mycelos.wire.decoding import describe

_SIZE_LIMIT: Final = 256 * 1024

MEANINGS: Final = {
    "egress.requests_per_run": "requests of one run that may be on their way at once",
    "egress.requests_per_host": "requests to one host and port that may be on their way at once",
    "egress.web_per_run.hosts": "distinct hosts that one run may reach by `web on`",
    "egress.web_per_run.name_bytes": "bytes of the names of these hosts",
    "egress.web_per_run.url_bytes": "bytes of the URLs and headers that one run sends by `web on`",
    "egress.web_per_day.hosts": "distinct hosts that all runs together may reach by `web on` in a day (UTC)",
    "egress.web_per_day.name_bytes": "bytes of the names of these hosts",
    "egress.web_per_day.url_bytes": "bytes of the URLs and headers that all runs send by `web on` in a day (UTC)",
    "ledger.bytes_per_second": "bytes a second that the gateway may put on record, and its requests as many again",
    "ledger.burst_bytes": "bytes that each of the two may put on record at once",
    "ledger.reserve_bytes": "free bytes kept for the operator, 32 MiB or more: with fewer, the gateway is refused",
    "sandbox.accept_missing": "names of walls that may be absent on this machine; each one given up is recorded",
    "witness.file": "absolute path of a file, best on another disk, to which each checkpoint of the ledger is appended",
    "witness.url": "URL of a witness (C2SP tlog-witness), which receives the ledger's checkpoints",
    "witness.key": "the vkey of that witness: with it, its cosignatures are verified",
}
"""What each key of the file is for."""


_Count = Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class WebLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A budget of `web on`: distinct hosts; bytes of their names; bytes of URLs and of headers the caller chose."""

    hosts: _Count
    name_bytes: _Count
    url_bytes: _Count


class EgressSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on what leaves."""

    requests_per_run: _Count = 32
    requests_per_host: _Count = 256
    web_per_run: WebLimits = WebLimits(hosts=30, name_bytes=1_000, url_bytes=64 * 1024)
    web_per_day: WebLimits = WebLimits(hosts=300, name_bytes=10_000, url_bytes=1024 * 1024)


class LedgerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on what the gateway, and what it asks for, puts on record."""

    bytes_per_second: _Count = 64 * 1024
    burst_bytes: Annotated[int, msgspec.Meta(ge=1024 * 1024, le=2**40)] = 16 * 1024 * 1024
    # A checkpoint of the write-ahead log, which a burst has made longer, is written into the reserve as well.
    reserve_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 128 * 1024 * 1024


class SandboxSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Walls of the sandbox, by the names that `mycelos doctor` prints."""

    accept_missing: tuple[str, ...] = ()


class WitnessTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is given the ledger's checkpoints; `mycelos.configuration.witness` lays MYCELOS_WITNESS over it."""

    file: str | None = None
    url: str | None = None
    key: str | None = None


class OperatorFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of `operator.toml`. Every one may be left out."""

    egress: EgressSettings = EgressSettings()
    ledger: LedgerSettings = LedgerSettings()
    sandbox: SandboxSettings = SandboxSettings()
    witness: WitnessTable = WitnessTable()


def read_operator_file(path: Path) -> OperatorFile:
    """Read and check ``path``; a file that is not there means the defaults.

    Raises:
        ConfigurationError: another user owns the file or may open it, it is no TOML, or a key or value in it
            cannot be used. The text names the key and the nearest one that exists.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return OperatorFile()
    except OSError:
        message = f"cannot open {path}; it must be a plain file of this user"
        raise ConfigurationError(message) from None
    try:
        _demand_owner_only(path, os.fstat(descriptor))
        data = os.read(descriptor, _SIZE_LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(data) > _SIZE_LIMIT:
        message = f"{path} is larger than {_SIZE_LIMIT} bytes"
        raise ConfigurationError(message)
    return parse_operator_file(data, str(path))


def parse_operator_file(data: bytes, name: str) -> OperatorFile:
    """The settings in ``data``, the content of the file called ``name``.

    Raises:
        ConfigurationError: see `read_operator_file`.
    """
    try:
        tables = tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        where = f": {error}" if isinstance(error, tomllib.TOMLDecodeError) else ""
        message = f"{name} is not TOML in UTF-8{where}"
        raise ConfigurationError(message) from None
    _refuse_unknown(tables, OperatorFile, name, "")
    try:
        return msgspec.convert(tables, OperatorFile)
    except msgspec.ValidationError as error:
        message = f"{name}: {describe(error, 'the file')}; correct the value, or remove the key for its default"
        raise ConfigurationError(message) from None


def keys(kind: type[msgspec.Struct] = OperatorFile, prefix: str = "") -> list[str]:
    """Each key that may stand in the file, with its table: ``sandbox.accept_missing``."""
    found: list[str] = []
    for field in msgspec.structs.fields(kind):
        inner = _table_type(field.type)
        found += keys(inner, f"{prefix}{field.name}.") if inner else [f"{prefix}{field.name}"]
    return found


def _table_type(kind: Any) -> type[msgspec.Struct] | None:
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _refuse_unknown(table: dict[str, Any], kind: type[msgspec.Struct], name: str, prefix: str) -> None:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key, value in table.items():
        if key not in fields:
            near = difflib.get_close_matches(f"{prefix}{key}", keys(), n=1, cutoff=0.0)
            message = f"{name}: unknown key {prefix}{key}; the nearest one that exists is {near[0]}"
            raise ConfigurationError(message)
        inner = _table_type(fields[key].type)
        if inner and isinstance(value, dict):
            _refuse_unknown(value, inner, name, f"{prefix}{key}.")


def _demand_owner_only(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        message = f"{path} is not a plain file"
        raise ConfigurationError(message)
    if status.st_uid != os.geteuid():
        message = f"{path} belongs to another user; give it to the user that runs Mycelos"
        raise ConfigurationError(message)
    if status.st_mode & 0o077:
        message = f"others may open {path}; run: chmod 600 {path}"
        raise ConfigurationError(message)
