"""Pages from templates: every value escaped, an unknown name an error, everything loaded at start."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from fastapi import Request
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from starlette.responses import HTMLResponse

from mycelos.gateway.identity.csrf import FIELD
from mycelos.gateway.identity.principal import principal_of
from mycelos.gateway.lockdown import LockdownWatch
from mycelos.gateway.web.audit_view import size_of
from mycelos.ledger.text import escape

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Pages:
    """Renders templates. They are read once: a confined process need not open files later."""

    def __init__(self, lockdown: LockdownWatch) -> None:
        sources = {path.name: path.read_text("utf-8") for path in sorted(_TEMPLATES.glob("*.html"))}
        self._environment = Environment(
            loader=DictLoader(sources),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(when=when, size=size_of, plain=plain, lockdown=lockdown)
        for name in sources:
            self._environment.get_template(name)

    def respond(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """The page ``name``. Its forms carry the session's token."""
        return HTMLResponse(self.render(request, name, **values), status)

    def render(self, request: Request, name: str, **values: Any) -> str:
        """The same as text, for who sends it in pieces."""
        principal = principal_of(request.scope)
        token = principal.form_token if principal else ""
        field = Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token)
        template = self._environment.get_template(name)
        return template.render(form_token=field, here=_section(request), **values)


def _section(request: Request) -> str:
    """The page of the bar that a request belongs to, such as ``/chat``."""
    return "/" + request.url.path.split("/")[1]


def plain(text: str) -> str:
    """``text`` with its lines, and every other character that is not printable written out."""
    return "\n".join(map(escape, text.split("\n")))


def when(at: str) -> str:
    """A time for people, in UTC: ``22 Nov 2026, 16:05``; text that is no time stays as it is."""
    try:
        return datetime.fromisoformat(at).strftime("%d %b %Y, %H:%M").lstrip("0")
    except ValueError:
        return at
