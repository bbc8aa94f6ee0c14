"""The environment variables that Mycelos reads, as data: the reference page and the checks come from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PREFIX: Final = "MYCELOS_"
TEST_PREFIX: Final = "MYCELOS_TEST_"
FILE_SUFFIX: Final = "_FILE"


@dataclass(frozen=True)
class Variable:
    """One variable. A secret may also be given as ``NAME_FILE``, the path of a file that holds it."""

    name: str
    meaning: str
    default: str = ""
    is_secret: bool = False


VARIABLES: Final = (
    Variable(
        "MYCELOS_DATA_DIR",
        "folder of keys, stores and workspaces",
        "`./data` where that holds a key, else the platform's data folder",
    ),
    Variable("MYCELOS_MASTER_KEY", "the master key, 32 bytes in base64; for the proxy only", "", is_secret=True),
    Variable("MYCELOS_PROXY_TOKEN", "the gateway's bearer at the proxy, 32 bytes in base64url", "", is_secret=True),
    Variable(
        "MYCELOS_PROXY_URL", "where the gateway finds the proxy: http://host:port, unix:/path or fd:N; not in host mode"
    ),
    Variable(
        "MYCELOS_PROXY_LISTEN",
        "where `mycelos proxy serve` listens for the gateway: host:port or unix:/path; not in host mode",
    ),
    Variable("MYCELOS_BIND", "address of the page", "127.0.0.1"),
    Variable("MYCELOS_PORT", "port of the page", "9100"),
    Variable("MYCELOS_OPERATOR_PORT", "port of the vault page", "9101"),
    Variable("MYCELOS_PASSWORD", "turns HTTP Basic on for the page", "", is_secret=True),
    Variable("MYCELOS_PASSWORD_HASH", "the same as an argon2id hash, the form to keep", "", is_secret=True),
    Variable("MYCELOS_PUBLIC_URL", "the page's address as browsers see it, behind TLS"),
    Variable("MYCELOS_TRUSTED_PROXIES", "addresses whose forwarding headers are believed, comma separated"),
    Variable("MYCELOS_EGRESS_OPEN", "exact host:port entries on the LAN or loopback that may be reached"),
    Variable("MYCELOS_WITNESS", "file (absolute path) or URL that receives each checkpoint of the ledger"),
    Variable("MYCELOS_CA_FILE", "extra roots for upstream TLS"),
    Variable("MYCELOS_DNS", "host:port of the resolver that the proxy asks", "the system's"),
    Variable(
        "MYCELOS_DATABASE_URL", "SQLAlchemy URL of the stores; not yet in host mode", "SQLite files in the data folder"
    ),
)

NAMES: Final = frozenset(variable.name for variable in VARIABLES) | {
    variable.name + FILE_SUFFIX for variable in VARIABLES if variable.is_secret
}
