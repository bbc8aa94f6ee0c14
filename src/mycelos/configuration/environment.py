"""Reading the environment: each value checked, an unknown name refused with the nearest one that exists."""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mycelos.configuration.variables import FILE_SUFFIX, NAMES, PREFIX, TEST_PREFIX, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECRET_FILE_LIMIT: Final = 64 * 1024
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43,}={0,2}\Z")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}\Z")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_OPEN_ENTRY: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(?P<port>[0-9]{1,5})\Z")
# The widest networks that belong to somebody's own machines: 10.0.0.0/8 (RFC 1918) and fc00::/7 (RFC 4193).
_WIDEST: Final = {4: 8, 6: 7}
_MAPPED: Final = ipaddress.ip_network("::ffff:0:0/96")


class ConfigurationError(ValueError):
    """A value cannot be used. The text names the variable or key and the fix, and no secret value."""


@dataclass(frozen=True)
class OpenedHost:
    """One entry of MYCELOS_EGRESS_OPEN: an exact name or address, and a port."""

    host: str
    port: int


@dataclass(frozen=True)
class Environment:
    """The environment's values after checking. An absent value is None or the default."""

    data_directory: Path
    proxy_url: str | None
    proxy_listen: str | None
    bind: str
    port: int
    operator_port: int
    public_url: str | None
    trusted_proxies: tuple[str, ...]
    egress_open: tuple[OpenedHost, ...]
    witness: str | None
    ca_file: Path | None
    dns: tuple[str, int] | None
    database_url: str | None
    master_key: bytes | None = field(repr=False)
    proxy_token: str | None = field(repr=False)
    password: str | None = field(repr=False)
    password_hash: str | None = field(repr=False)

    @property
    def binds_loopback(self) -> bool:
        """Whether the page is reachable from this machine only."""
        return self.bind == "localhost" or ipaddress.ip_address(self.bind).is_loopback


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Check ``environ`` and return its Mycelos values.

    Raises:
        ConfigurationError: an unknown ``MYCELOS_`` name or a value that cannot be used.
    """
    _refuse_unknown(environ)
    values = {variable.name: _value(environ, variable.name, variable.is_secret) for variable in VARIABLES}
    return Environment(
        data_directory=_data_directory(values["MYCELOS_DATA_DIR"], environ),
        proxy_url=values["MYCELOS_PROXY_URL"],
        proxy_listen=values["MYCELOS_PROXY_LISTEN"],
        bind=_bind(values["MYCELOS_BIND"] or "127.0.0.1"),
        port=_port("MYCELOS_PORT", values["MYCELOS_PORT"] or "9100"),
        operator_port=_port("MYCELOS_OPERATOR_PORT", values["MYCELOS_OPERATOR_PORT"] or "9101"),
        public_url=_public_url(values["MYCELOS_PUBLIC_URL"]),
        trusted_proxies=_addresses("MYCELOS_TRUSTED_PROXIES", values["MYCELOS_TRUSTED_PROXIES"]),
        egress_open=parse_opened_hosts(values["MYCELOS_EGRESS_OPEN"] or ""),
        witness=values["MYCELOS_WITNESS"],
        ca_file=_file("MYCELOS_CA_FILE", values["MYCELOS_CA_FILE"]),
        dns=_dns(values["MYCELOS_DNS"]),
        database_url=values["MYCELOS_DATABASE_URL"],
        master_key=parse_master_key(values["MYCELOS_MASTER_KEY"]),
        proxy_token=parse_proxy_token(values["MYCELOS_PROXY_TOKEN"]),
        password=values["MYCELOS_PASSWORD"],
        password_hash=values["MYCELOS_PASSWORD_HASH"],
    )


def parse_master_key(text: str | None) -> bytes | None:
    """The 32 bytes of a master key written in base64, or None where there is none."""
    if text is None:
        return None
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        message = "MYCELOS_MASTER_KEY must be 32 bytes in base64; scripts/install.sh makes one"
        raise ConfigurationError(message)
    return key


def parse_proxy_token(text: str | None) -> str | None:
    """A bearer of at least 32 bytes in base64url, or None where there is none."""
    if text is not None and not _TOKEN.match(text):
        message = "MYCELOS_PROXY_TOKEN must be 32 bytes of base64url or more (43 characters); `mycelos init` makes one"
        raise ConfigurationError(message)
    return text


def parse_opened_hosts(text: str) -> tuple[OpenedHost, ...]:
    """The entries of MYCELOS_EGRESS_OPEN, in order, each once."""
    opened: dict[OpenedHost, None] = {}
    for entry in [part.strip() for part in text.split(",")] if text.strip() else []:
        if not entry:
            message = "MYCELOS_EGRESS_OPEN: an entry is empty; take the comma that is too many away"
            raise ConfigurationError(message)
        found = _OPEN_ENTRY.match(entry)
        host = _exact_host(found["host"]) if found else None
        if not found or host is None or not _is_port(found["port"]):
            message = f"MYCELOS_EGRESS_OPEN: {entry!r} is not an exact host:port (no range, no wildcard, no scheme)"
            raise ConfigurationError(message)
        opened[OpenedHost(host, int(found["port"]))] = None
    return tuple(opened)


def _exact_host(text: str) -> str | None:
    """A name in lower case or an address in its one canonical form; None for anything else."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            return None
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.match, labels)):
        return None
    # A last label that is a number makes it an address (WHATWG URL, "ends in a number"): 127.1, 0x7f000001 and
    # such are other spellings of an address, and an exception is exact.
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            return None
    return name


def _is_port(text: str) -> bool:
    return bool(_PORT.match(text)) and int(text) <= 65535


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if name.startswith(PREFIX) and not name.startswith(TEST_PREFIX) and name not in NAMES:
            near = difflib.get_close_matches(name, sorted(NAMES), n=1, cutoff=0.0)
            message = f"unknown variable {name}; the nearest one that exists is {near[0]}"
            raise ConfigurationError(message)


def _value(environ: Mapping[str, str], name: str, is_secret: bool) -> str | None:
    direct = environ.get(name)
    path = environ.get(name + FILE_SUFFIX) if is_secret else None
    if direct is not None and path is not None:
        message = f"{name} and {name}{FILE_SUFFIX} are both set; keep one"
        raise ConfigurationError(message)
    if path is not None:
        direct = _read_secret_file(name + FILE_SUFFIX, Path(path))
    if direct is None or (direct == "" and not is_secret):
        return None
    if direct == "":
        message = f"{name} is empty; give it a value or remove it"
        raise ConfigurationError(message)
    if any(ord(character) < 32 or ord(character) == 127 for character in direct):
        message = f"{name} holds a control character; remove it"
        raise ConfigurationError(message)
    return direct


def _read_secret_file(name: str, path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_SECRET_FILE_LIMIT + 1)
        text = data.decode("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError):
        message = f"{name}: cannot read {path} as text; check that it exists and who may read it"
        raise ConfigurationError(message) from None
    if len(data) > _SECRET_FILE_LIMIT:
        message = f"{name}: {path} is larger than {_SECRET_FILE_LIMIT} bytes"
        raise ConfigurationError(message)
    return text


def _data_directory(text: str | None, environ: Mapping[str, str]) -> Path:
    if text:
        return Path(text).absolute()
    base = environ.get("XDG_DATA_HOME") or str(Path(environ.get("HOME") or "/var/lib") / ".local" / "share")
    return Path(base).absolute() / "mycelos"


def _bind(text: str) -> str:
    if text == "localhost":
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        message = f"MYCELOS_BIND must be an IP address or localhost, not {text!r}"
        raise ConfigurationError(message) from None


def _port(name: str, text: str) -> int:
    if not _is_port(text):
        message = f"{name} must be a port from 1 to 65535, not {text!r}"
        raise ConfigurationError(message)
    return int(text)


def _public_url(text: str | None) -> str | None:
    if text is None:
        return None
    found = re.fullmatch(r"https?://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]+))?/?", text)
    if not found or _exact_host(found["host"]) is None or not _is_port(found["port"] or "443"):
        message = f"MYCELOS_PUBLIC_URL must be scheme://host[:port] without a path, not {text!r}"
        raise ConfigurationError(message)
    return text.rstrip("/")


def _addresses(name: str, text: str | None) -> tuple[str, ...]:
    entries = [part.strip() for part in (text or "").split(",") if part.strip()]
    try:
        networks = [ipaddress.ip_network(entry) for entry in entries]
    except ValueError:
        message = f"{name} must be IP addresses or networks, comma separated"
        raise ConfigurationError(message) from None
    for network in networks:
        if network.prefixlen < _WIDEST[network.version] or (network.version == 6 and network.overlaps(_MAPPED)):
            message = f"{name}: {network} would make everybody believed; name the addresses of your own proxies"
            raise ConfigurationError(message)
    return tuple(map(str, networks))


def _file(name: str, text: str | None) -> Path | None:
    if text is None:
        return None
    try:
        is_file = Path(text).is_file()
    except OSError:
        is_file = False
    if not is_file:
        message = f"{name}: there is no file {text} that this user can see"
        raise ConfigurationError(message)
    return Path(text).absolute()


def _dns(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    host, separator, port = text.rpartition(":")
    try:
        address = str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        address = ""
    if not separator or not address:
        message = f"MYCELOS_DNS must be address:port, not {text!r}"
        raise ConfigurationError(message)
    return address, _port("MYCELOS_DNS", port)
