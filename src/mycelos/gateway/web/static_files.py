"""The page's own sheet, module and picture: read once, open to everybody, no secret in them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response

from mycelos.wire.problems import ProblemCode, Refusal

_FOLDER: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def static_routes() -> APIRouter:
    """``/static/NAME``; the names are those of the files, so no path is ever joined to a request's text."""
    router = APIRouter(include_in_schema=False)
    files = {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}
    tags = {name: f'"{hashlib.sha256(content).hexdigest()[:32]}"' for name, content in files.items()}

    @router.get("/static/{name}")
    async def static_file(name: str, request: Request) -> Response:
        if name not in files:
            raise Refusal(ProblemCode.NOT_FOUND, "There is no such file.", "Reload the page.")
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(files[name], media_type=_TYPES[Path(name).suffix], headers=headers)

    return router
