"""What must hold before the page may listen: an address that others reach needs a password."""

from __future__ import annotations

from mycelos.configuration.environment import ConfigurationError, Environment
from mycelos.gateway.identity.passwords import configured_hash


def check_before_listening(environment: Environment) -> str | None:
    """The password's hash to check against, or None where the page is on loopback and has no password.

    Raises:
        ConfigurationError: the page would be reachable from other machines without authentication, or the
            password cannot be used.
    """
    password_hash = configured_hash(environment.password, environment.password_hash)
    if password_hash is None and not environment.binds_loopback:
        message = (
            f"MYCELOS_BIND is {environment.bind}, which other machines can reach, and there is no password; set "
            "MYCELOS_PASSWORD_HASH (make it with: mycelos password set), or bind to 127.0.0.1"
        )
        raise ConfigurationError(message)
    return password_hash
