"""Which routes and commands there are, from the applications' own tables."""

from __future__ import annotations

import inspect
from dataclasses import fields
from unittest.mock import MagicMock

from mycelos.gateway.app import create_app
from mycelos.gateway.services import PageSettings, Services
from mycelos.operator.app import VaultPage
from mycelos.operator.sessions import Sessions
from mycelos.proxy.gateway_door import GatewayDoor
from mycelos.proxy.operator_door.composition import Parts, compose

HELPERS = {"--help", "-h", "--version", "--install-completion"}


def operator_routes():
    door = compose(Parts(**{part.name: MagicMock() for part in fields(Parts)} | {"token": "t"}))
    return sorted({(method, route.path) for route in door._app.routes for method in route.methods - {"HEAD"}})


def gateway_routes():
    named = list(inspect.signature(GatewayDoor.__init__).parameters)[1:]
    door = GatewayDoor(**{name: MagicMock() for name in named} | {"token": "t"})
    return sorted({*door._routes, ("GET", "/healthz"), ("POST", "/forward/https/attacker.example/")})


def page_routes():
    """The gateway's, of its API and its pages."""
    settings = PageSettings("127.0.0.1", 9100, "http://localhost:9101", "t")
    app = create_app(Services(*(MagicMock() for _ in range(5)), settings, MagicMock()))
    included = [
        one for route in app.routes if hasattr(route, "original_router") for one in route.original_router.routes
    ]
    routes = [route for route in app.routes if hasattr(route, "methods")] + included
    return sorted({(method, route.path) for route in routes for method in route.methods})


def vault_page_routes():
    page = VaultPage(MagicMock(), Sessions(), "http://localhost:9101")
    routes = [*page.routes(), *page.session_routes()]
    return sorted({(method, route.path) for route in routes for method in route.methods})


def commands_of(app, before=()):
    """Every command that can be given, as words."""
    for name in app:
        if name in HELPERS:
            continue
        below = app[name]
        words = (*before, name)
        further = [word for word in below if word not in HELPERS]
        if below.default_command is not None or not further:
            yield words
        if further:
            yield from commands_of(below, words)
