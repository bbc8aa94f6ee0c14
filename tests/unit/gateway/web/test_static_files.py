from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "kind"), [("app.css", "text/css"), ("app.js", "text/javascript"), ("icon.svg", "image/svg+xml")]
)
async def test_the_files_are_served_and_revalidated(page, name: str, kind: str) -> None:
    client = page.client()
    answer = await client.get(f"/static/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    again = await client.get(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "name", ["none.js", "..%2fapp.py", "%2e%2e%2f%2e%2e%2fapp.py", "app.css%00", "APP.CSS", "/etc/passwd"]
)
async def test_nothing_else_is(page, name: str) -> None:
    assert (await page.client().get(f"/static/{name}")).status_code == 404


async def test_our_module_stays_small_and_writes_text_only(page) -> None:
    source = (await page.client().get("/static/app.js")).text
    assert len(source.splitlines()) < 150
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function("):
        assert word not in source
