from __future__ import annotations

import base64
import shutil
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.egress.rules import EgressRules
from mycelos.proxy.key_rotation import SIGNED
from mycelos.proxy.operator_settings import OperatorSettings, Setting
from mycelos.proxy.passkeys.ceremony import RelyingParty
from mycelos.proxy.passkeys.store import Passkey, Passkeys
from mycelos.proxy.tables import CREDENTIAL_VERSIONS, CREDENTIALS, KEY_SLOTS, METADATA, OPERATOR_SETTINGS, WRAPPED_KEYS
from mycelos.proxy.vault import hazmat
from mycelos.proxy.vault.envelope import WRAP_LIMIT
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.keys import load_master_key
from mycelos.proxy.vault.records import park_all
from mycelos.proxy.vault.rotation import MasterKeyRotation, Rotated
from mycelos.proxy.vault.signed_rows import SignedRows
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Method
from mycelos.wire.keys import LONG_LIVED_KEYS
from mycelos.wire.problems import Refusal

pytestmark = pytest.mark.anyio

SECRETS = {name: f"secret-of-{name}" for name in ("one", "two", "three")}


@pytest.fixture
async def full(layout: DataLayout, master_key: bytes, binding: Callable[..., Any], anyio_backend: str) -> Any:
    """A vault with something of everything, and its key in its file."""
    layout.master_key.write_bytes(base64.b64encode(master_key))
    layout.master_key.chmod(0o600)
    vault = Vault.open(layout, master_key)
    for service, secret in SECRETS.items():
        await vault.store(service, "", (binding(),), secret)
    for name in LONG_LIVED_KEYS:
        vault.wrapped_key(name).destroy()
    rules = EgressRules.open(vault.database, vault.keys)
    await rules.add(Method.GET, "https", "docs.example", 443)
    await rules.set_web(enabled=True)
    yield vault
    vault.close()


def copy_of(layout: DataLayout) -> DataLayout:
    """What a process that starts now would find; nothing is being written."""
    copy = DataLayout(layout.root.parent / "copy")
    shutil.copytree(layout.root, copy.root)
    return copy


def rotate(vault: Vault, layout: DataLayout, signed: Any = SIGNED) -> Rotated:
    return vault.database.alone_now(MasterKeyRotation(vault, layout, signed).run)


def reveal_all(vault: Vault) -> dict[str, str]:
    found = {}
    for credential in vault.list():
        with vault.open_secret(credential) as secret:
            found[credential.service] = secret.reveal().decode()
    return found


def rows(vault: Vault, table: sa.Table) -> list[dict[str, Any]]:
    return vault.database.run_now(lambda connection: [row._asdict() for row in connection.execute(sa.select(table))])


async def test_after_a_rotation_everything_opens_under_the_new_key_and_nothing_under_the_old_one(
    full: Vault, layout: DataLayout, master_key: bytes
) -> None:
    before, long_lived = full.list(), {name: full.wrapped_key(name) for name in LONG_LIVED_KEYS}
    rotated = rotate(full, layout)
    assert rotated == Rotated(rotated.previous_kid, full.keys.kid, 3, 2, 7)
    assert rotated.previous_kid != rotated.kid
    # In this process, which goes on, and in the next one.
    copy = copy_of(layout)
    key = load_master_key(copy, None)
    assert key != master_key
    again = Vault.open(copy, key)
    for opened in (full, again):
        assert reveal_all(opened) == SECRETS
        assert opened.list() == before
        rules = EgressRules.open(opened.database, opened.keys)
        assert rules.match("GET", "https", "docs.example", 443)
        assert rules.match("GET", "https", "anything.example", 443)
        for name, value in long_lived.items():
            with value as old, opened.wrapped_key(name) as new:
                assert new.matches(old.reveal())
            long_lived[name] = opened.wrapped_key(name)
    again.close()
    with pytest.raises(VaultError, match="does not fit"):
        Vault.open(copy, master_key)


async def test_what_is_parked_stays_parked_and_passkeys_stay_enrolled(full: Vault, layout: DataLayout) -> None:
    page = RelyingParty.of("http://localhost:9101")
    passkey = Passkey("passkey_1", "laptop", b"its own id", b"its public key", 3, "2026-11-26T12:00:00Z", None)
    passkeys = Passkeys.open(full.database, full.keys, page)
    full.database.run_now(lambda connection: passkeys._insert(connection, passkey))
    full.database.run_now(lambda connection: park_all(connection, full.keys.slot, "2026-11-26T12:00:00Z"))
    rotate(full, layout)
    copy = copy_of(layout)
    again = Vault.open(copy, load_master_key(copy, None))
    assert {credential.parked_at for credential in again.list()} == {"2026-11-26T12:00:00Z"}
    for credential in again.list():
        with pytest.raises(Refusal, match="waits for the operator's word"), again.open_secret(credential):
            pass
    assert Passkeys.open(again.database, again.keys, page).list() == [passkey]
    again.close()


async def test_no_payload_is_sealed_anew_and_every_wrap_is(full: Vault, layout: DataLayout) -> None:
    payloads = {row["credential_id"]: row["payload"] for row in rows(full, CREDENTIAL_VERSIONS)}
    wraps = {row["wrapped_key"] for table in (CREDENTIAL_VERSIONS, WRAPPED_KEYS) for row in rows(full, table)}
    wraps |= {row["wrapped_root"] for row in rows(full, KEY_SLOTS)}
    rotated = rotate(full, layout)
    assert {row["credential_id"]: row["payload"] for row in rows(full, CREDENTIAL_VERSIONS)} == payloads
    (slot,) = rows(full, KEY_SLOTS)
    assert (slot["kid"], slot["wraps"]) == (rotated.kid, 5)
    for table in METADATA.sorted_tables:
        if "kid" in table.c:
            assert {row["kid"] for row in rows(full, table)} <= {rotated.kid}, table.name
    # Neither in the file nor in its log, while the process runs.
    for path in layout.proxy.iterdir():
        content = path.read_bytes()
        assert not any(wrap in content for wrap in wraps), path.name


async def test_what_was_written_after_a_rotation_is_under_the_new_key(
    full: Vault, layout: DataLayout, binding: Callable[..., Any]
) -> None:
    rules = EgressRules.open(full.database, full.keys)
    rotate(full, layout)
    rotate(full, layout)
    await full.store("four", "", (binding(),), "secret-of-four")
    await full.rotate("one", "another-secret")
    await full.bind("two", (binding("other.example"),))
    await rules.add(Method.GET, "https", "new.example", 443)
    await rules.set_web(enabled=False)
    again = Vault.open(copy_of(layout), load_master_key(layout, None))
    assert reveal_all(again) == {**SECRETS, "one": "another-secret", "four": "secret-of-four"}
    assert [rule.host for rule in EgressRules.open(again.database, again.keys).list()] == [
        "docs.example",
        "new.example",
    ]
    again.close()


async def test_while_it_rotates_every_read_gets_its_secret(full: Vault, layout: DataLayout) -> None:
    """A reader beside the database's thread sees the vault before or after, never half of each."""
    stop, faults, reads = threading.Event(), [], [0]

    def read() -> None:
        while not stop.is_set():
            try:
                assert reveal_all(full) == SECRETS
            except (AssertionError, Refusal) as error:
                faults.append(error)
            reads[0] += 1

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(20):
        rotate(full, layout)
    stop.set()
    for reader in readers:
        reader.join(30)
    assert faults == []
    assert reads[0] > 0


async def test_a_slot_that_has_wrapped_as_often_as_it_may_is_relieved_by_a_rotation(
    full: Vault, layout: DataLayout, binding: Callable[..., Any]
) -> None:
    full.database.run_now(lambda connection: connection.execute(KEY_SLOTS.update().values(wraps=WRAP_LIMIT)))
    with pytest.raises(Refusal) as caught:
        await full.store("four", "", (binding(),), "secret-of-four")
    assert "mycelos key rotate" in caught.value.problem.next
    rotate(full, layout)
    await full.store("four", "", (binding(),), "secret-of-four")
    assert rows(full, KEY_SLOTS)[0]["wraps"] == 6


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        (CREDENTIALS, {"row_mac": bytes(32)}, "mycelos credential delete one"),
        (CREDENTIAL_VERSIONS, {"label": "other"}, "mycelos credential delete one"),
        (CREDENTIAL_VERSIONS, {"wrapped_key": bytes(60)}, "sound"),
        (CREDENTIAL_VERSIONS, {"payload": bytes(60)}, "sound"),
        (WRAPPED_KEYS, {"wrapped_key": bytes(60)}, "sound"),
        (OPERATOR_SETTINGS, {"value": "off"}, "sound"),
    ],
)
async def test_what_was_altered_is_not_carried_over_and_the_old_key_stays(
    full: Vault, layout: DataLayout, master_key: bytes, table: sa.Table, change: dict[str, Any], said: str
) -> None:
    full.database.run_now(lambda connection: connection.execute(table.update().values(change)))
    before = rows(full, table)
    with pytest.raises(Refusal) as caught:
        rotate(full, layout)
    assert "altered outside Mycelos" in caught.value.problem.detail
    assert said in caught.value.problem.next
    assert rows(full, table) == before
    assert load_master_key(layout, None) == master_key
    assert not layout.master_key_next.exists()
    assert len(rows(full, KEY_SLOTS)) == 1


async def test_a_table_that_nobody_carries_over_lets_no_rotation_commit(
    full: Vault, layout: DataLayout, master_key: bytes
) -> None:
    """The wall behind `SIGNED`: a row that still names the old slot is refused by the commit itself."""
    with pytest.raises(Refusal) as caught:
        rotate(full, layout, SIGNED[:1])
    assert "SQLITE_CONSTRAINT_FOREIGNKEY" in caught.value.problem.detail
    assert load_master_key(layout, None) == master_key
    assert not layout.master_key_next.exists()
    assert reveal_all(full) == SECRETS
    full.database.run_now(lambda connection: OperatorSettings(full.keys).read(connection, Setting.WEB))
    Vault.open(copy_of(layout), master_key).close()


async def test_a_key_that_somebody_put_in_the_place_of_the_vaults_is_not_written_over(
    full: Vault, layout: DataLayout
) -> None:
    other = base64.b64encode(bytes(32))
    layout.master_key.write_bytes(other)
    with pytest.raises(Refusal) as caught:
        rotate(full, layout)
    assert "does not hold the key of this vault" in caught.value.problem.detail
    assert layout.master_key.read_bytes() == other
    assert not layout.master_key_next.exists()


async def test_a_next_key_that_lies_there_as_a_link_is_refused(
    full: Vault, layout: DataLayout, tmp_path: Any, master_key: bytes
) -> None:
    layout.master_key_next.symlink_to(tmp_path / "somewhere")
    with pytest.raises(Refusal) as caught:
        rotate(full, layout)
    assert str(layout.master_key_next) in caught.value.problem.detail
    assert load_master_key(layout, None) == master_key
    assert not (tmp_path / "somewhere").exists()


async def test_without_the_verification_a_wrap_that_opens_nothing_would_be_committed(
    full: Vault, layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotation that wraps wrongly is found before the commit; its twin, without the look, loses the secrets."""
    real = hazmat.rewrap_record

    def wrong(old: Any, new: Any, record: Any, randomness: Any) -> Any:
        made = real(old, new, record, randomness)
        return type(made)(**{**vars_of(made), "wrapped_key": bytes(60)})

    monkeypatch.setattr(hazmat, "rewrap_record", wrong)
    with pytest.raises(Refusal, match="altered outside"):
        rotate(full, layout)
    assert reveal_all(full) == SECRETS
    monkeypatch.setattr(hazmat, "open_record", lambda *_: hazmat.Secret(bytearray(1)))
    rotate(full, layout)
    monkeypatch.undo()
    with pytest.raises(Refusal):
        reveal_all(full)


def vars_of(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__dataclass_fields__}


def test_every_table_with_a_row_mac_is_named_in_this_test() -> None:
    """A new table under a MAC needs a place in `SIGNED`; credentials and the vault's state have owners of their own."""
    signed = {table.name for table in METADATA.sorted_tables if "row_mac" in table.c}
    assert signed == {rows.table.name for rows in SIGNED} | {"credentials", "vault_state"}
    assert all(isinstance(rows, SignedRows) for rows in SIGNED)
