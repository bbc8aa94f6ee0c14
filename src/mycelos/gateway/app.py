"""The gateway's web application: layers in one order, then routes.

Outermost first: security headers, the record of refusals, Host allow-list, body size, authentication, origin rules,
JSON, routes. The order is the argument: an unknown name learns nothing, a huge body costs nothing, nobody gets past
without a sign-in, and a sign-in does not help a foreign page.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.middleware import Middleware

from mycelos import __version__
from mycelos.gateway.administration import Administration
from mycelos.gateway.api.agents import agent_routes as agent_api
from mycelos.gateway.api.auth import auth_routes as auth_api
from mycelos.gateway.api.chats import chat_routes as chat_api
from mycelos.gateway.api.event_stream import HEARTBEAT_SECONDS, EventStreams
from mycelos.gateway.api.models import model_routes as model_api
from mycelos.gateway.api.records import record_routes as record_api
from mycelos.gateway.api.runs import run_routes as run_api
from mycelos.gateway.identity.authentication import Authentication
from mycelos.gateway.identity.lockout import Lockout
from mycelos.gateway.identity.one_time_links import OneTimeLinks
from mycelos.gateway.identity.passwords import PasswordCheck
from mycelos.gateway.identity.sessions import Sessions
from mycelos.gateway.identity.sign_in_record import SignInRecord
from mycelos.gateway.middleware.body_limit import BodyLimit
from mycelos.gateway.middleware.error_boundary import ErrorBoundary
from mycelos.gateway.middleware.host_check import HostCheck
from mycelos.gateway.middleware.json_body import JsonBody
from mycelos.gateway.middleware.origin_check import OriginCheck
from mycelos.gateway.middleware.origins import make_origins
from mycelos.gateway.middleware.problems import install_handlers
from mycelos.gateway.middleware.refusal_record import RefusalRecord
from mycelos.gateway.middleware.security_headers import SecurityHeaders
from mycelos.gateway.recorder import Recorder
from mycelos.gateway.services import Services
from mycelos.gateway.web.agent_pages import agent_routes
from mycelos.gateway.web.audit_pages import audit_routes
from mycelos.gateway.web.chat_pages import chat_routes
from mycelos.gateway.web.connection_pages import connection_routes
from mycelos.gateway.web.login_pages import login_routes
from mycelos.gateway.web.rendering import Pages
from mycelos.gateway.web.settings_pages import settings_routes
from mycelos.gateway.web.static_files import static_routes


def create_app(services: Services, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> FastAPI:
    """The application over ``services``. It reads no environment and opens nothing."""
    settings = services.settings
    recorder = Recorder(services.proxy.append)
    record = SignInRecord(recorder)
    sessions = Sessions(services.store.sessions, _now)
    links = OneTimeLinks(services.store.links, _now)
    lockout = Lockout(time.monotonic)
    administration = Administration(services.store, recorder, services.proxy.credentials)
    pages = Pages(services.lockdown)

    app = FastAPI(
        title="Mycelos gateway",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Telemetry would keep request bodies and exception texts, and may be switched on from the environment.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(ErrorBoundary),
            Middleware(
                RefusalRecord, record=record, lockout=Lockout(time.monotonic), trusted_proxies=settings.trusted_proxies
            ),
            Middleware(HostCheck, origins=make_origins(settings.bind, settings.port, settings.public_url)),
            Middleware(BodyLimit),
            Middleware(
                Authentication,
                sessions=sessions,
                record=record,
                lockout=lockout,
                command_line_token=settings.command_line_token,
                password=PasswordCheck(settings.password_hash) if settings.password_hash else None,
                trusted_proxies=settings.trusted_proxies,
            ),
            Middleware(OriginCheck),
            Middleware(JsonBody),
        ],
    )
    install_handlers(app)

    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Whether the gateway answers; no authentication, no detail."""
        return {"status": "ok"}

    for router in (
        auth_api(links, sessions, record, services.lockdown),
        record_api(services),
        chat_api(services, administration),
        run_api(services, sessions, EventStreams(heartbeat_seconds)),
        agent_api(services, administration),
        model_api(services, administration),
        static_routes(),
        login_routes(pages, links, sessions, record, lockout, has_password=settings.password_hash is not None),
        chat_routes(pages, services, administration),
        agent_routes(pages, services, administration),
        connection_routes(pages, services),
        audit_routes(pages, services, recorder),
        settings_routes(pages, services, administration),
    ):
        app.include_router(router)
    return app


def _now() -> datetime:
    return datetime.now(UTC)
