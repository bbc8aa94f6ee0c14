"""The zones' processes as data: module, flags, descriptors, environment. Nothing is started here.

Each environment is built from nothing. The supervisor's own may hold the master key, an ssh-agent's socket, a
proxy setting or a cloud token; a zone gets the variables named for it below and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mycelos.configuration.environment import Environment
from mycelos.configuration.layout import STATE_VARIABLE, state_directory


class Role(StrEnum):
    """The zones of host mode, in the order in which they are listed to a person."""

    PROXY = "proxy"
    OPERATOR = "operator"
    SPAWNER = "spawner"
    GATEWAY = "gateway"


STOP_ORDER: Final = (frozenset({Role.GATEWAY, Role.OPERATOR}), frozenset({Role.SPAWNER}), frozenset({Role.PROXY}))
"""What faces people stops first; the proxy last, so that each outcome still reaches the ledger."""

_BASE: Final = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
_OVERWRITE_WHAT_IS_FREED: Final = {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165"}
"""Secrets are typed into the vault page's forms: the interpreter and the C library overwrite memory as it is freed."""
_PROXY_VARIABLES: Final = (
    "MYCELOS_MASTER_KEY",
    "MYCELOS_MASTER_KEY_FILE",
    "MYCELOS_EGRESS_OPEN",
    "MYCELOS_WITNESS",
    "MYCELOS_CA_FILE",
    "MYCELOS_DNS",
    "MYCELOS_BIND",
    "MYCELOS_PORT",
    "MYCELOS_OPERATOR_PORT",
)
_GATEWAY_VARIABLES: Final = (
    "MYCELOS_BIND",
    "MYCELOS_PORT",
    "MYCELOS_OPERATOR_PORT",
    "MYCELOS_PUBLIC_URL",
    "MYCELOS_TRUSTED_PROXIES",
)


@dataclass(frozen=True)
class ChildPlan:
    """One process.

    ``program`` is what the interpreter is told to run; ``descriptors`` keep their numbers in the child;
    ``environment`` may hold the bearer.
    """

    role: Role
    program: tuple[str, ...]
    arguments: tuple[str, ...]
    descriptors: tuple[int, ...]
    environment: Mapping[str, str] = field(repr=False)
    after: Role | None = None
    """A child that must be ready first. This one is started again whenever that one has been."""
    is_spared: bool = False
    """When it cannot be kept running, the others go on without it."""
    flags: tuple[str, ...] = ("-I",)
    """How the interpreter is set apart from whatever the machine holds for Python."""


@dataclass(frozen=True)
class Descriptors:
    """What the supervisor opens once and keeps: a restarted child gets the same ones."""

    page_listener: int
    operator_listener: int
    control_of_proxy: int
    control_of_gateway: int
    requests_of_spawner: int
    requests_of_gateway: int


def plan_children(
    environ: Mapping[str, str], settings: Environment, proxy_token: str, descriptors: Descriptors
) -> tuple[ChildPlan, ...]:
    """The four processes of host mode.

    Args:
        environ: the supervisor's environment, from which named variables are copied.
        settings: the same after checking.
        proxy_token: the gateway's bearer at the proxy.
        descriptors: numbers of the descriptors that are handed over.
    """
    data = ("--data-dir", str(settings.data_directory))
    return (
        ChildPlan(
            Role.PROXY,
            ("-m", "mycelos.proxy"),
            (*data, "--control-fd", str(descriptors.control_of_proxy)),
            (descriptors.control_of_proxy,),
            _BASE | _copied(environ, _PROXY_VARIABLES) | _state(environ) | {"MYCELOS_PROXY_TOKEN": proxy_token},
        ),
        ChildPlan(
            Role.OPERATOR,
            ("-m", "mycelos.operator"),
            (
                *data,
                "--listen-fd",
                str(descriptors.operator_listener),
                "--public-url",
                operator_url(settings),
            ),
            (descriptors.operator_listener,),
            _BASE | _OVERWRITE_WHAT_IS_FREED,
            # Its walls are put up around the operator's socket and token as the proxy has made them.
            after=Role.PROXY,
            # As -I, but for -E: its environment is ours, and says how its memory is to be treated.
            flags=("-P", "-s"),
        ),
        ChildPlan(
            Role.SPAWNER,
            ("-m", "mycelos.sandbox.spawner"),
            (*data, "--request-fd", str(descriptors.requests_of_spawner)),
            (descriptors.requests_of_spawner,),
            dict(_BASE),
        ),
        ChildPlan(
            Role.GATEWAY,
            ("-m", "mycelos.gateway"),
            (
                *data,
                "--listen-fd",
                str(descriptors.page_listener),
                "--control-fd",
                str(descriptors.control_of_gateway),
                "--spawner-fd",
                str(descriptors.requests_of_gateway),
            ),
            (descriptors.page_listener, descriptors.control_of_gateway, descriptors.requests_of_gateway),
            _BASE
            | _copied(environ, _GATEWAY_VARIABLES)
            | _passwords(settings)
            | {
                "MYCELOS_PROXY_TOKEN": proxy_token,
                "MYCELOS_PROXY_URL": f"fd:{descriptors.control_of_gateway}",
            },
            # A gateway that was taken over can spoil its own database: the vault page must not end with it.
            is_spared=True,
        ),
    )


def page_url(settings: Environment) -> str:
    """Where a browser on this machine, or behind the operator's own TLS, finds the page."""
    return settings.public_url or f"http://localhost:{settings.port}"


def operator_url(settings: Environment) -> str:
    """Where a browser on this machine finds the vault page."""
    return f"http://localhost:{settings.operator_port}"


def _copied(environ: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: environ[name] for name in names if name in environ}


def _state(environ: Mapping[str, str]) -> dict[str, str]:
    # Where the proxy remembers the ledger's head outside of the data folder.
    folder = state_directory(environ)
    return {} if folder is None else {STATE_VARIABLE: str(folder)}


def _passwords(settings: Environment) -> dict[str, str]:
    # Values, not NAME_FILE paths: the gateway can read no file outside of its own folder.
    found = {"MYCELOS_PASSWORD": settings.password, "MYCELOS_PASSWORD_HASH": settings.password_hash}
    return {name: value for name, value in found.items() if value is not None}
