"""What must hold before a process is started: settings, token, master key. Each refusal names the next step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from mycelos.configuration.environment import (
    ConfigurationError,
    Environment,
    parse_proxy_token,
    read_environment,
)
from mycelos.configuration.layout import DataLayout
from mycelos.configuration.plain_file import open_plain_file
from mycelos.supervisor.value_checks import check_values

_WITHOUT_MEANING_HERE: Final = ("MYCELOS_PROXY_URL", "MYCELOS_PROXY_LISTEN", "MYCELOS_DATABASE_URL")
_TOKEN_LIMIT: Final = 1024


class ServeRefusedError(Exception):
    """The system is not started. The text says why and what to do; ``exit_code`` is the command's."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def check_settings(environ: Mapping[str, str], *, resolve: bool = False) -> Environment:
    """The environment after checking, with host mode's own rules; ``resolve`` looks opened names up too.

    Raises:
        ServeRefusedError: a value cannot be used, the pages share a port, or a bind other than loopback has no
            password.
    """
    try:
        settings = read_environment(environ)
    except ConfigurationError as error:
        raise ServeRefusedError(str(error), 2) from None
    for name in _WITHOUT_MEANING_HERE:
        if environ.get(name):
            message = f"{name} has no meaning in host mode; remove it, or run the roles one by one"
            raise ServeRefusedError(message, 2)
    if not settings.binds_loopback and settings.password is None and settings.password_hash is None:
        message = (
            f"MYCELOS_BIND={settings.bind} is reachable by others and no password is set; "
            "set MYCELOS_PASSWORD_HASH or MYCELOS_PASSWORD, or bind to 127.0.0.1"
        )
        raise ServeRefusedError(message, 2)
    if settings.port == settings.operator_port:
        message = f"MYCELOS_PORT and MYCELOS_OPERATOR_PORT are both {settings.port}; give each page a port of its own"
        raise ServeRefusedError(message, 2)
    try:
        check_values(settings, resolve=resolve)
    except ConfigurationError as error:
        raise ServeRefusedError(str(error), 2) from None
    return settings


def find_proxy_token(settings: Environment, layout: DataLayout) -> str:
    """The gateway's bearer at the proxy, from the environment or its file.

    Raises:
        ServeRefusedError: there is none, others may read it, or it is too short.
    """
    if settings.proxy_token is not None:
        return settings.proxy_token
    try:
        stream = open_plain_file(layout.proxy_token)
    except FileNotFoundError:
        message = f"no token at {layout.proxy_token}; make it with scripts/install.sh or: mycelos init"
        raise ServeRefusedError(message, 1) from None
    except OSError:
        message = f"cannot read {layout.proxy_token}; check its owner, and that it is a file"
        raise ServeRefusedError(message, 1) from None
    with stream:
        if os.fstat(stream.fileno()).st_mode & 0o077:
            message = f"others may read {layout.proxy_token}; run: chmod 600 {layout.proxy_token}"
            raise ServeRefusedError(message, 1)
        data = stream.read(_TOKEN_LIMIT + 1)
    try:
        token = parse_proxy_token(data.decode("ascii").strip()) if len(data) <= _TOKEN_LIMIT else None
    except (ConfigurationError, UnicodeDecodeError):
        token = None
    if token is None:
        message = f"{layout.proxy_token} holds no token of 32 bytes in base64url; remove it and run: mycelos init"
        raise ServeRefusedError(message, 1)
    return token


def require_master_key(settings: Environment, layout: DataLayout) -> None:
    """Refuse early where there is no master key, or where environment and file hold two different ones.

    A key that lies in the file alone is the proxy's to read: this process need not hold it.

    Raises:
        ServeRefusedError: no key, or two.
    """
    if settings.master_key is None and os.path.lexists(layout.master_key):
        return
    check_master_key(settings, layout)


def check_master_key(settings: Environment, layout: DataLayout) -> None:
    """Read the master key as the proxy does, and forget it.

    Raises:
        ServeRefusedError: no key, two different ones, or a file that is not as it must be.
    """
    # Imported where it is needed: a start with the key in its file, which is the usual one, does without.
    from mycelos.proxy.vault.errors import VaultError  # noqa: PLC0415
    from mycelos.proxy.vault.keys import load_master_key  # noqa: PLC0415

    try:
        load_master_key(layout, settings.master_key)
    except VaultError as error:
        raise ServeRefusedError(str(error), 1) from None
