from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.database import make_engine
from mycelos.proxy.tables import CREDENTIAL_VERSIONS, CREDENTIALS, KEY_SLOTS
from mycelos.proxy.vault import records
from mycelos.proxy.vault.envelope import WRAP_LIMIT, canonical_bindings
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.store import Vault
from mycelos.wire.identifiers import DEFAULT_TENANT
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

CHANGES = [
    (CREDENTIALS, "service", "gitlab"),
    (CREDENTIALS, "created_at", "1999-01-01T00:00:00Z"),
    (CREDENTIALS, "row_mac", b"\x00" * 32),
    (CREDENTIALS, "tenant_id", "tenant_other"),
    (CREDENTIALS, "version", 2),
    (CREDENTIAL_VERSIONS, "label", "forged"),
    (CREDENTIAL_VERSIONS, "bindings", "[]"),
    (CREDENTIAL_VERSIONS, "bindings", "{"),
    (CREDENTIAL_VERSIONS, "created_at", "1999-01-01T00:00:00Z"),
    (CREDENTIAL_VERSIONS, "version", 2),
    (CREDENTIAL_VERSIONS, "tenant_id", "tenant_other"),
]


def alter(path: Path, *statements: sa.Executable) -> None:
    engine = make_engine(path)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(statement)
    engine.dispose()


@pytest.mark.parametrize(("table", "column", "value"), CHANGES)
async def test_a_row_that_was_altered_is_named_and_not_used(
    layout: DataLayout, master_key: bytes, binding: Callable, table: sa.Table, column: str, value: object
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), "s3cret-value")
    vault.close()
    alter(layout.vault, table.update().values({column: value}))
    with pytest.raises(VaultError, match="altered, removed or put back"):
        Vault.open(layout, master_key)
    # Also one who takes what is there for the state gets no record that does not hold by itself.
    vault = Vault.open(layout, master_key, adopt=True)
    try:
        name = "gitlab" if column == "service" else "github"
        assert vault.damaged() == (name,)
        assert vault.list() == []
        with pytest.raises(Refusal) as caught:
            vault.find(name)
        assert caught.value.problem.code is ProblemCode.VAULT_UNAVAILABLE
        await vault.delete(name)
        assert vault.damaged() == ()
        await vault.store("github", "again", (binding(),), "s3cret-value")
    finally:
        vault.close()


@pytest.mark.parametrize(("table", "column", "value"), [CHANGES[5]])
async def test_without_the_row_mac_a_forged_label_would_be_shown(
    layout: DataLayout,
    master_key: bytes,
    binding: Callable,
    monkeypatch: pytest.MonkeyPatch,
    table: sa.Table,
    column: str,
    value: object,
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), "s3cret-value")
    vault.close()
    alter(layout.vault, table.update().values({column: value}))
    monkeypatch.setattr("mycelos.proxy.vault.envelope.SlotKeys.row_holds", lambda *_: True)
    vault = Vault.open(layout, master_key, adopt=True)
    try:
        assert [credential.label for credential in vault.list()] == ["forged"]
    finally:
        vault.close()


async def test_an_old_version_put_back_does_not_verify(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), "the-revoked-one")
    vault.close()
    engine = make_engine(layout.vault)
    with engine.begin() as connection:
        old = connection.execute(sa.select(CREDENTIAL_VERSIONS)).one()._asdict()
    engine.dispose()
    vault = Vault.open(layout, master_key)
    await vault.rotate("github", "the-new-one")
    vault.close()
    sealed = {name: old[name] for name in ("wrapped_key", "payload")}
    alter(layout.vault, CREDENTIAL_VERSIONS.update().values(sealed))
    vault = Vault.open(layout, master_key, adopt=True)
    credential = vault.find("github")
    with pytest.raises(Refusal) as caught, vault.open_secret(credential):
        pytest.fail("the old secret opened")
    vault.close()
    assert caught.value.problem.code is ProblemCode.VAULT_UNAVAILABLE
    alter(layout.vault, CREDENTIAL_VERSIONS.delete(), CREDENTIAL_VERSIONS.insert().values(old))
    vault = Vault.open(layout, master_key, adopt=True)
    assert vault.damaged() == ("github",)
    vault.close()


async def test_a_superseded_secret_is_kept_nowhere(layout: DataLayout, master_key: bytes, binding: Callable) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), "one-secret")
    for number in range(3):
        await vault.rotate("github", f"secret-number-{number}")
    rows = vault.database.run_now(lambda connection: connection.execute(sa.select(CREDENTIAL_VERSIONS)).all())
    assert [row.version for row in rows] == [4]
    await vault.delete("github")
    assert vault.database.run_now(lambda connection: connection.execute(sa.select(CREDENTIAL_VERSIONS)).all()) == []
    vault.close()


async def test_a_key_wraps_a_bounded_number_of_times(vault: Vault, binding: Callable) -> None:
    vault.database.run_now(lambda connection: connection.execute(KEY_SLOTS.update().values(wraps=WRAP_LIMIT - 1)))
    await vault.store("one", "", (binding(),), "first-secret")
    with pytest.raises(Refusal) as caught:
        await vault.store("two", "", (binding(),), "second-secret")
    assert "mycelos key rotate" in caught.value.problem.next
    assert [credential.service for credential in vault.list()] == ["one"]
    count = vault.database.run_now(lambda connection: connection.scalar(sa.select(sa.func.count(CREDENTIALS.c.id))))
    assert count == 1


async def test_a_wrap_under_an_unknown_slot_is_refused(vault: Vault) -> None:
    with pytest.raises(Refusal):
        vault.database.run_now(lambda connection: records.count_wraps(connection, "kid_unknown"))


@pytest.mark.parametrize("value", [None, "2026-11-27T00:00:00Z"])
async def test_a_parked_row_cannot_be_freed_or_altered_outside(
    layout: DataLayout, master_key: bytes, binding: Callable, value: str | None
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), "s3cret-value")

    def park(connection: sa.Connection) -> list[records.Credential]:
        return records.park_all(connection, vault.keys.slot, "2026-11-26T12:00:00Z")

    try:
        assert [credential.parked_at for credential in vault.database.run_now(park)] == ["2026-11-26T12:00:00Z"]
        # Parked already: its time stays.
        assert vault.database.run_now(park) == []
        found = vault.database.run_now(lambda connection: records.read_records(connection, vault.keys.slot))
        assert found.records["github"].credential.parked_at == "2026-11-26T12:00:00Z"
        vault.database.run_now(lambda connection: connection.execute(CREDENTIALS.update().values(parked_at=value)))
        found = vault.database.run_now(lambda connection: records.read_records(connection, vault.keys.slot))
        assert (list(found.records), list(found.damaged)) == ([], ["github"])
    finally:
        vault.close()


async def test_a_row_from_before_there_was_parking_still_holds(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    stored = await vault.store("github", "mine", (binding(),), "s3cret-value")
    columns = {
        "id": stored.id, "tenant_id": DEFAULT_TENANT, "service": "github", "version": 1, "label": "mine",
        "bindings": canonical_bindings(stored.bindings), "kid": vault.keys.kid, "created_at": stored.created_at,
        "changed_at": stored.changed_at,
    }  # fmt: skip
    written = vault.database.run_now(lambda connection: connection.scalar(sa.select(CREDENTIALS.c.row_mac)))
    assert vault.keys.row_holds("credentials", columns, written)
    vault.close()
