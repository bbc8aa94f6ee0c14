from __future__ import annotations

import pytest

from mycelos.wire.egress import CredentialSummary

pytestmark = pytest.mark.anyio


async def test_credentials_are_shown_by_metadata_with_the_way_to_the_vault_page(page) -> None:
    client = await page.signed_in()
    assert "No credential yet." in (await client.get("/connections")).text
    page.proxy.stored = [
        CredentialSummary(
            service="github",
            label="<b>work</b>",
            created_at="2026-01-02T03:04:05.000000Z",
            bindings=(),
            last_used_at=None,
        )
    ]
    text = (await client.get("/connections")).text
    assert "github" in text
    assert "&lt;b&gt;work" in text
    assert "2 Jan 2026, 03:04" in text
    assert f'href="http://localhost:{page.port + 1}"' in text
    assert "mycelos open --operator" in text


async def test_the_page_has_no_field_for_a_secret(page) -> None:
    text = (await (await page.signed_in()).get("/connections")).text
    # The one form is the button that signs out.
    assert text.count("<form") == 1
    assert 'type="password"' not in text
