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

_TEMPLATES: Final = Path(__file__).parent / "templates"


class Pages:
    """Renders templates. They are read once: a confined process need not open files later."""

    def __init__(self) -> None:
        sources = {path.name: path.read_text("utf-8") for path in sorted(_TEMPLATES.glob("*.html"))}
        self._environment = Environment(
            loader=DictLoader(sources),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["when"] = when
        for name in sources:
            self._environment.get_template(name)

    def respond(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """The page ``name``. Its forms carry the session's token."""
        principal = principal_of(request.scope)
        token = principal.form_token if principal else ""
        field = Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, token)
        template = self._environment.get_template(name)
        return HTMLResponse(template.render(form_token=field, here=_section(request), **values), status)


def _section(request: Request) -> str:
    """The page of the bar that a request belongs to, such as ``/chat``."""
    return "/" + request.url.path.split("/")[1]


def when(at: str) -> str:
    """A time for people, in UTC: ``22 Nov 2026, 16:05``; text that is no time stays as it is."""
    try:
        return datetime.fromisoformat(at).strftime("%d %b %Y, %H:%M").lstrip("0")
    except ValueError:
        return at
