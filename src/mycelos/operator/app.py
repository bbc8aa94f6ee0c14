"""The vault page: static forms over the operator's door. It holds no key, and keeps no secret that is typed into it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from mycelos.operator.approval_pages import ApprovalPages
from mycelos.operator.binding_page import BindingPage
from mycelos.operator.browser_rules import BrowserRules
from mycelos.operator.client import OperatorClient
from mycelos.operator.credential_pages import CredentialPages
from mycelos.operator.forgetting import Forgetting
from mycelos.operator.frame import Frame
from mycelos.operator.lockdown_pages import LockdownPages
from mycelos.operator.new_credential_page import NewCredentialPage
from mycelos.operator.passkey_pages import PasskeyPages
from mycelos.operator.problem_pages import ProblemPages
from mycelos.operator.refusal_record import RefusalRecord
from mycelos.operator.rule_pages import RulePages
from mycelos.operator.session_gate import SessionGate
from mycelos.operator.sessions import Sessions
from mycelos.operator.sign_in_pages import SignInPages
from mycelos.wire.operator import SECRET_LIMIT

BODY_LIMIT: Final = 4 * SECRET_LIMIT
"""Bytes of a form at most: a secret with every byte percent-encoded, and the rest."""
_STATIC: Final = Path(__file__).parent / "static"


class VaultPage:
    """The page's routes over one client and one set of sessions."""

    def __init__(self, client: OperatorClient, sessions: Sessions, address: str) -> None:
        """``address`` is the page's origin as browsers see it."""
        self._frame = Frame(client, sessions, address)
        self._style = (_STATIC / "operator.css").read_bytes()
        self._script = (_STATIC / "passkey.js").read_bytes()

    def routes(self) -> list[Route]:
        """What answers without a session."""
        return [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/operator.css", self._stylesheet, methods=["GET"]),
            Route("/passkey.js", self._passkey_script, methods=["GET"]),
            *SignInPages(self._frame).routes(),
            *PasskeyPages(self._frame).routes(),
        ]

    def session_routes(self) -> list[Route]:
        """What stands below a session's path."""
        frame = self._frame
        return [
            *NewCredentialPage(frame).session_routes(),
            *CredentialPages(frame).session_routes(),
            *BindingPage(frame).session_routes(),
            *ApprovalPages(frame).session_routes(),
            *RulePages(frame).session_routes(),
            *LockdownPages(frame).session_routes(),
            *PasskeyPages(frame).session_routes(),
            *SignInPages(frame).session_routes(),
        ]

    def app(self, origins: frozenset[str]) -> ASGIApp:
        """The page as an ASGI application that answers for ``origins`` only."""
        frame = self._frame
        inside = Router(self.session_routes(), redirect_slashes=False)
        routes = [*self.routes(), SessionGate(inside, frame.sessions, frame.cookie).mount()]
        app = Starlette(routes=routes, exception_handlers=ProblemPages(frame).handlers(), max_body_size=BODY_LIMIT)
        app.router.redirect_slashes = False
        return RefusalRecord(BrowserRules(Forgetting(app), origins), frame.client)

    async def _healthz(self, _request: Request) -> Response:
        return Response('{"status":"ok"}', media_type="application/json")

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(self._style, media_type="text/css")

    async def _passkey_script(self, _request: Request) -> Response:
        return Response(self._script, media_type="text/javascript")
