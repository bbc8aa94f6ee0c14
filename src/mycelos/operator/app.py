"""The vault page: static forms over the operator's door. It holds no key, and keeps no secret that is typed into it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, quote

import anyio.to_thread
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mycelos.operator import forms, wording
from mycelos.operator.browser_rules import BrowserRules
from mycelos.operator.client import OperatorClient, OperatorUnavailableError
from mycelos.operator.forms import FieldError
from mycelos.operator.sessions import LIFETIME_SECONDS, Session, Sessions
from mycelos.wire.binding import Binding, Method
from mycelos.wire.operator import (
    ANY_HOST,
    SECRET_LIMIT,
    CredentialView,
    ListRules,
    RotateCredential,
    StoreCredential,
    check_label,
    check_secret,
    check_service,
)
from mycelos.wire.problems import ProblemCode, Refusal, joined

Result = TypeVar("Result")
Page = Callable[[Request, Session], Awaitable[Response]]

BODY_LIMIT: Final = 4 * SECRET_LIMIT
"""Bytes of a form at most: a secret with every byte percent-encoded, and the rest."""
_FIELDS_LIMIT: Final = 64
_FOLDER: Final = Path(__file__).parent
_COOKIE: Final = "mycelos_operator"
_INJECTIONS: Final = ("bearer", "header", "basic", "url_path")
_EMPTY_FORM: Final = {
    "service": "", "label": "", "template": "", "host": "", "path_prefix": "", "inject": "bearer", "inject_name": "",
    "methods": ["GET"], "confirm": False,
}  # fmt: skip


class VaultPage:
    """The page's routes over one client and one set of sessions."""

    def __init__(self, client: OperatorClient, sessions: Sessions, *, is_https: bool) -> None:
        self._client = client
        self._sessions = sessions
        self._is_https = is_https
        # Cookies ignore ports, so the name must differ from the gateway's; __Host- is for https alone.
        self._cookie = f"__Host-{_COOKIE}" if is_https else _COOKIE
        self._pages = Environment(
            loader=FileSystemLoader(_FOLDER / "pages"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._pages.globals.update(describe=wording.describe, address=wording.address, any_host=ANY_HOST, quote=quote)
        self._style = (_FOLDER / "static" / "operator.css").read_bytes()

    def app(self, origins: frozenset[str]) -> ASGIApp:
        """The page as an ASGI application that answers for ``origins`` only."""
        routes = [
            Route("/healthz", self._healthz, methods=["GET"]),
            Route("/operator.css", self._stylesheet, methods=["GET"]),
            Route("/login", self._login_form, methods=["GET"]),
            Route("/login", self._login, methods=["POST"]),
            Route("/logout", self._signed_in(self._logout), methods=["POST"]),
            Route("/", self._signed_in(self._credentials), methods=["GET"]),
            Route("/credentials/new", self._signed_in(self._new_form), methods=["GET"]),
            Route("/credentials/new", self._signed_in(self._create), methods=["POST"]),
            Route("/credentials/{service}/rotate", self._signed_in(self._rotate_form), methods=["GET"]),
            Route("/credentials/{service}/rotate", self._signed_in(self._rotate), methods=["POST"]),
            Route("/credentials/{service}/delete", self._signed_in(self._delete_form), methods=["GET"]),
            Route("/credentials/{service}/delete", self._signed_in(self._delete), methods=["POST"]),
            Route("/rules", self._signed_in(self._rules), methods=["GET"]),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={
                Refusal: self._show_refusal,
                OperatorUnavailableError: self._show_unavailable,
                HTTPException: self._show_http_error,
            },
            max_body_size=BODY_LIMIT,
        )
        return BrowserRules(app, origins)

    def _signed_in(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            session = self._sessions.find(request.cookies.get(self._cookie))
            if session is None:
                return RedirectResponse("/login", 303)
            return await page(request, session)

        return guarded

    async def _healthz(self, _request: Request) -> Response:
        return Response('{"status":"ok"}', media_type="application/json")

    async def _stylesheet(self, _request: Request) -> Response:
        return Response(self._style, media_type="text/css")

    async def _login_form(self, request: Request) -> Response:
        # Shown, not redeemed: programs that preview links must not use them up.
        return self._show("login.html", None, code=request.query_params.get("code", ""), error="")

    async def _login(self, request: Request) -> Response:
        fields = await _read_form(request, {"code"})
        try:
            await _call(self._client.redeem_link, str(fields.get("code", "")).strip()[:128])
        except Refusal as refusal:
            error = joined(refusal.problem.detail, refusal.problem.next)
            return self._show("login.html", None, refusal.problem.status, code="", error=error)
        answer = RedirectResponse("/", 303)
        # A session of its own for each sign-in: one that was planted before is worth nothing.
        self._sessions.end(request.cookies.get(self._cookie))
        answer.set_cookie(
            self._cookie,
            self._sessions.begin(),
            max_age=LIFETIME_SECONDS,
            path="/",
            secure=self._is_https,
            httponly=True,
            samesite="strict",
        )
        return answer

    async def _logout(self, request: Request, session: Session) -> Response:
        _demand_own_form(await _read_form(request, set()), session)
        self._sessions.end(request.cookies.get(self._cookie))
        await _call(self._client.end_session)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(self._cookie, path="/", secure=self._is_https, httponly=True, samesite="strict")
        return answer

    async def _credentials(self, request: Request, session: Session) -> Response:
        found = await _call(self._client.credentials)
        return self._show(
            "credentials.html",
            session,
            credentials=found.credentials,
            damaged=found.damaged,
            done=request.query_params.get("done", ""),
            service=request.query_params.get("service", ""),
        )

    async def _new_form(self, _request: Request, session: Session) -> Response:
        return await self._show_new(session, dict(_EMPTY_FORM))

    async def _create(self, request: Request, session: Session) -> Response:
        fields = await _read_form(request, {*_EMPTY_FORM, "secret"}, {"methods"})
        _demand_own_form(fields, session)
        kept = {**_EMPTY_FORM, "methods": [], **{name: fields[name] for name in _EMPTY_FORM if name in fields}}
        kept["confirm"] = "confirm" in fields
        try:
            message = _store_message(kept, str(fields.get("secret", "")))
            await _call(self._client.store, message)
        except FieldError as error:
            return await self._show_new(session, kept, 400, error.field, error.message)
        except Refusal as refusal:
            if refusal.problem.code not in {ProblemCode.CONFLICT, ProblemCode.INVALID_REQUEST}:
                raise
            named, _, rest = refusal.problem.detail.partition(": ")
            field, detail = (named, rest) if named in _EMPTY_FORM else ("service", refusal.problem.detail)
            text = joined(detail, refusal.problem.next)
            return await self._show_new(session, kept, refusal.problem.status, field, text)
        return _back("stored", message.service)

    async def _show_new(
        self, session: Session, fields: Mapping[str, Any], status: int = 200, field: str = "", error: str = ""
    ) -> Response:
        return self._show(
            "new.html",
            session,
            status,
            fields=fields,
            field=field,
            error=error,
            templates=await _call(self._client.templates),
            methods=list(Method),
            injections=_INJECTIONS,
        )

    async def _rotate_form(self, request: Request, session: Session) -> Response:
        return self._show("rotate.html", session, credential=await self._find(request), error="")

    async def _rotate(self, request: Request, session: Session) -> Response:
        fields = await _read_form(request, {"secret"})
        _demand_own_form(fields, session)
        credential = await self._find(request)
        try:
            secret = _field("secret", check_secret, str(fields.get("secret", "")))
        except FieldError as error:
            return self._show("rotate.html", session, 400, credential=credential, error=error.message)
        await _call(self._client.rotate, RotateCredential(service=credential.service, secret=secret))
        return _back("rotated", credential.service)

    async def _delete_form(self, request: Request, session: Session) -> Response:
        return self._show("delete.html", session, service=(await self._find_name(request)))

    async def _delete(self, request: Request, session: Session) -> Response:
        _demand_own_form(await _read_form(request, set()), session)
        service = await self._find_name(request)
        await _call(self._client.delete, service)
        return _back("deleted", service)

    async def _rules(self, _request: Request, session: Session) -> Response:
        return self._show("rules.html", session, rules=await _call(self._client.egress_rules, ListRules()))

    async def _find(self, request: Request) -> CredentialView:
        for credential in (await _call(self._client.credentials)).credentials:
            if credential.service == request.path_params["service"]:
                return credential
        raise HTTPException(404)

    async def _find_name(self, request: Request) -> str:
        found = await _call(self._client.credentials)
        for name in (*(credential.service for credential in found.credentials), *found.damaged):
            if name == request.path_params["service"]:
                return name
        raise HTTPException(404)

    def _show(self, page: str, session: Session | None, status: int = 200, /, **values: Any) -> Response:
        form_token = "" if session is None else session.form_token
        return HTMLResponse(self._pages.get_template(page).render(form_token=form_token, **values), status)

    async def _show_refusal(self, _request: Request, error: Exception) -> Response:
        problem = error.problem if isinstance(error, Refusal) else None
        if problem is None:
            raise error
        return self._show(
            "problem.html", None, problem.status, title=problem.title, detail=problem.detail, next_step=problem.next
        )

    async def _show_unavailable(self, _request: Request, error: Exception) -> Response:
        if not isinstance(error, OperatorUnavailableError):
            raise error
        return self._show(
            "problem.html", None, 503, title="The proxy does not answer", detail=error.detail, next_step=error.next_step
        )

    async def _show_http_error(self, _request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        titles = {403: "This form is not of this session", 404: "There is nothing here", 413: "This is too long"}
        return self._show(
            "problem.html",
            None,
            status,
            title=titles.get(status, "This cannot be read"),
            detail="Nothing was changed.",
            next_step="Go back to the credentials and try again.",
        )


def _store_message(fields: Mapping[str, Any], secret: str) -> StoreCredential:
    service = _field("service", check_service, fields["service"].strip())
    label = _field("label", check_label, fields["label"].strip())
    bindings: tuple[Binding, ...] = ()
    if not fields["template"]:
        if fields["inject"] not in _INJECTIONS:
            raise FieldError(field="inject_as", message="expected one of the forms in the list")
        name = fields["inject_name"].strip()
        bindings = forms.build_bindings(
            hosts=fields["host"].split(),
            methods=fields["methods"],
            path_prefixes=fields["path_prefix"].split(),
            inject_as=f"{fields['inject']}:{name}" if fields["inject"] in {"header", "basic"} else fields["inject"],
            confirm=fields["confirm"],
        )
    return StoreCredential(
        service=service,
        secret=_field("secret", check_secret, secret),
        label=label,
        template=fields["template"] or None,
        bindings=bindings,
        confirm=fields["confirm"],
    )


def _field(name: str, check: Callable[[str], None], value: str) -> str:
    try:
        check(value)
    except ValueError as error:
        raise FieldError(field=name, message=str(error).removeprefix(f"{name}: ")) from None
    return value


async def _read_form(
    request: Request, single: set[str], repeated: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    """The fields of a form: texts, and lists of texts for ``repeated``. Unknown and doubled fields are refused."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    try:
        pairs = parse_qsl(
            (await request.body()).decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=_FIELDS_LIMIT,
        )
    except ValueError:
        raise HTTPException(400) from None
    fields: dict[str, Any] = {name: [] for name in repeated}
    for name, value in pairs:
        if name in repeated:
            fields[name].append(value)
        elif name in fields or name not in single | {"form_token"}:
            raise HTTPException(400)
        else:
            fields[name] = value
    return fields


def _demand_own_form(fields: Mapping[str, Any], session: Session) -> None:
    if not session.accepts(str(fields.get("form_token", ""))):
        raise HTTPException(403)


async def _call(function: Callable[..., Result], *arguments: Any) -> Result:
    return await anyio.to_thread.run_sync(partial(function, *arguments))


def _back(done: str, service: str) -> Response:
    return RedirectResponse(f"/?done={done}&service={quote(service, safe='')}", 303)
