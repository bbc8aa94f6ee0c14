import asyncio
import base64
import gc
import json
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec.structs import replace

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.tables import CREDENTIAL_VERSIONS
from mycelos.proxy.vault.errors import VaultError
from mycelos.proxy.vault.hazmat import Secret
from mycelos.proxy.vault.records import Credential
from mycelos.proxy.vault.store import Vault
from mycelos.wire.binding import Basic
from mycelos.wire.operator import SECRET_LIMIT, SECRET_MINIMUM, check_secret
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

SECRET = "canary-7d1f0a9be2"


def reveal(vault: Vault, credential: Credential | None) -> bytes:
    assert credential is not None
    with vault.open_secret(credential) as secret:
        return secret.reveal()


async def test_a_stored_secret_opens_and_survives_a_restart(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    stored = await vault.store("github", "mine", (binding(), binding("b.example")), SECRET)
    assert (stored.version, stored.service, stored.label, len(stored.bindings)) == (1, "github", "mine", 2)
    assert stored.last_used_at is None
    assert reveal(vault, stored) == SECRET.encode()
    vault.close()
    again = Vault.open(layout, master_key)
    assert again.list() == [stored]
    assert reveal(again, again.find("github")) == SECRET.encode()
    assert again.find("gitlab") is None
    again.close()


async def test_no_file_of_the_vault_holds_the_secret_in_any_form(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key)
    await vault.store("github", "mine", (binding(),), SECRET)
    await vault.bind("github", (binding("b.example"),))
    raw = SECRET.encode()
    forms = {raw, raw.hex().encode(), raw[::-1], SECRET.encode("utf-16-le"), urllib.parse.quote(SECRET).encode()}
    forms |= {base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)}
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"vault.sqlite", "vault.sqlite-wal"}
    for path in files:
        content = path.read_bytes()
        assert not [form for form in forms if form in content]
        assert path.stat().st_mode & 0o777 == 0o600
    # The search finds what is there: the service's name is no secret.
    assert any(b"github" in path.read_bytes() for path in files)
    vault.close()


async def test_after_a_use_no_object_holds_the_secret(vault: Vault, binding: Callable) -> None:
    # Made at run time, so that no constant of this module is it.
    secret = "".join(["walk-", "of-", "objects-", str(9_417_223)])
    await vault.store("github", "", (binding(),), secret)
    raw = secret.encode()
    del secret
    with vault.open_secret(vault.find("github")) as opened:
        assert opened.matches(raw)
    await asyncio.sleep(0)
    found = [
        item
        for item in gc.get_objects()
        if isinstance(item, dict | list | tuple)
        for value in (item.values() if isinstance(item, dict) else item)
        if isinstance(value, str | bytes | bytearray) and value in (raw, raw.decode())
    ]
    assert found == []


async def test_rotation_replaces_the_secret_and_outdates_what_was_looked_up(vault: Vault, binding: Callable) -> None:
    old = await vault.store("github", "mine", (binding(),), "first-secret")
    new = await vault.rotate("github", "second-secret")
    assert (new.id, new.version, new.label, new.bindings) == (old.id, 2, old.label, old.bindings)
    assert reveal(vault, vault.find("github")) == b"second-secret"
    with pytest.raises(Refusal) as caught, vault.open_secret(old):
        pytest.fail("opened under an outdated version")
    assert caught.value.problem.code is ProblemCode.CREDENTIAL_UNKNOWN


async def test_binding_anew_keeps_the_secret(vault: Vault, binding: Callable) -> None:
    await vault.store("github", "mine", (binding(),), SECRET)
    bound = await vault.bind("github", (binding("other.example", 8443),), "theirs")
    assert (bound.version, bound.label, bound.bindings) == (2, "theirs", (binding("other.example", 8443),))
    assert reveal(vault, bound) == SECRET.encode()
    assert (await vault.bind("github", (binding(),))).label == "theirs"


async def test_a_deleted_credential_is_gone_and_its_id_is_not_used_again(vault: Vault, binding: Callable) -> None:
    old = await vault.store("github", "mine", (binding(),), SECRET)
    await vault.delete("github")
    assert vault.find("github") is None
    with pytest.raises(Refusal), vault.open_secret(old):
        pytest.fail("opened after deletion")
    assert (await vault.store("github", "mine", (binding(),), SECRET)).id != old.id


async def test_a_name_that_exists_is_a_conflict_that_names_rotate(vault: Vault, binding: Callable) -> None:
    await vault.store("github", "", (binding(),), "first-secret")
    with pytest.raises(Refusal) as caught:
        await vault.store("github", "", (binding(),), "second-secret")
    assert caught.value.problem.code is ProblemCode.CONFLICT
    assert "mycelos credential rotate github" in caught.value.problem.next
    assert reveal(vault, vault.find("github")) == b"first-secret"


@pytest.mark.parametrize("name", ["glthub", "git-hub", "git_hub", "g1thub"])
async def test_a_name_that_looks_like_another_is_refused(vault: Vault, binding: Callable, name: str) -> None:
    await vault.store("github", "", (binding(),), "first-secret")
    with pytest.raises(Refusal) as caught:
        await vault.store(name, "", (binding(),), "second-secret")
    assert "looks like github" in caught.value.problem.detail


@pytest.mark.parametrize("name", ["", "GitHub", "9lives", "a b", "gіthub", "a" * 65, "a\n", "../x", "a.b"])
async def test_what_is_no_name_is_refused(vault: Vault, binding: Callable, name: str) -> None:
    with pytest.raises(Refusal) as caught:
        await vault.store(name, "", (binding(),), "x-secret")
    assert caught.value.problem.code is ProblemCode.INVALID_REQUEST
    assert caught.value.problem.detail.startswith("service: ")


NO_SECRETS = [
    "", "ab", "1234567", "a\nb", "a\rb", "a\x00b", " zq-7", "zq-7 ", "a\x7f", "a\x85b", "\ud800",
    "a" * (SECRET_LIMIT + 1), "é" * (SECRET_LIMIT // 2 + 1),
]  # fmt: skip


@pytest.mark.parametrize("secret", NO_SECRETS)
async def test_what_is_no_secret_is_refused_and_not_quoted(vault: Vault, binding: Callable, secret: str) -> None:
    await vault.store("other", "", (binding(),), "first-secret")
    for attempt in (vault.store("github", "", (binding(),), secret), vault.rotate("other", secret)):
        with pytest.raises(Refusal) as caught:
            await attempt
        assert caught.value.problem.detail.startswith("secret: ")
        assert not secret or secret not in str(caught.value)
    assert reveal(vault, vault.find("other")) == b"first-secret"


async def test_the_longest_secret_is_stored(vault: Vault, binding: Callable) -> None:
    stored = await vault.store("github", "", (binding(),), "s" * SECRET_LIMIT)
    assert reveal(vault, stored) == b"s" * SECRET_LIMIT


@given(st.text(min_size=1, max_size=60))
async def test_any_secret_is_kept_exactly_or_refused(text: str) -> None:
    try:
        check_secret(text)
    except ValueError as error:
        refused = str(error)
    else:
        refused = ""
    is_long = len(text.encode()) >= SECRET_MINIMUM
    sound = (
        is_long
        and text == text.strip()
        and not any(ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0 for letter in text)
    )
    assert refused.startswith("secret: ") != sound
    assert (refused == "") == sound


async def test_unknown_services_cannot_be_changed(vault: Vault, binding: Callable) -> None:
    for attempt in (vault.rotate("x", "s-secret"), vault.bind("x", (binding(),)), vault.delete("x")):
        with pytest.raises(Refusal) as caught:
            await attempt
        assert caught.value.problem.code is ProblemCode.CREDENTIAL_UNKNOWN


async def test_every_secret_bound_to_a_host_is_given_and_no_other(vault: Vault, binding: Callable) -> None:
    await vault.store("alpha", "", (binding("a.example"), binding("b.example")), "first-secret")
    await vault.store("beta", "", (binding("a.example"),), "second-secret")
    await vault.store("gamma", "", (binding("a.example", 8443),), "third-secret")
    with vault.secrets_for_host("a.example") as secrets:
        # At whatever port: a service may show at one what it was sent at another.
        found = sorted(secret.reveal() for secret in secrets)
        assert found == [b"first-secret", b"second-secret", b"third-secret"]
    with vault.secrets_for_host("c.example") as none:
        assert none == []


async def test_when_one_secret_of_a_host_does_not_open_none_is_given(vault: Vault, binding: Callable) -> None:
    await vault.store("alpha", "", (binding(),), "first-secret")
    await vault.store("beta", "", (binding(),), "second-secret")
    stored = vault._contents.records["beta"]
    object.__setattr__(stored.sealed, "payload", stored.sealed.payload[:-1] + bytes([stored.sealed.payload[-1] ^ 1]))
    with pytest.raises(Refusal) as caught, vault.secrets_for_host("api.example.com"):
        pytest.fail("the block must not begin")
    assert caught.value.problem.code is ProblemCode.VAULT_UNAVAILABLE


async def test_an_error_inside_the_block_comes_out_of_it(vault: Vault, binding: Callable) -> None:
    stored = await vault.store("alpha", "", (binding(),), "first-secret")
    kept: list[Secret] = []
    with pytest.raises(RuntimeError, match="upstream"), vault.open_secret(stored) as secret:
        kept.append(secret)
        message = "upstream"
        raise RuntimeError(message)
    with pytest.raises(ValueError, match="inside"):
        kept[0].reveal()


async def test_the_last_use_is_shown_at_once_and_written_by_the_end(
    layout: DataLayout, master_key: bytes, binding: Callable
) -> None:
    vault = Vault.open(layout, master_key, clock=lambda: datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC))
    stored = await vault.store("alpha", "", (binding(),), "first-secret")
    vault.touch(stored)
    assert vault.list()[0].last_used_at == "2026-05-04T03:02:01Z"
    vault.close()
    again = Vault.open(layout, master_key)
    assert again.find("alpha").last_used_at == "2026-05-04T03:02:01Z"
    again.close()


async def test_a_long_lived_key_is_made_once(layout: DataLayout, master_key: bytes) -> None:
    vault = Vault.open(layout, master_key)
    with (
        vault.wrapped_key("ledger-mac") as one,
        vault.wrapped_key("ledger-mac") as two,
        vault.wrapped_key("x") as other,
    ):
        first = one.reveal()
        assert first == two.reveal() != other.reveal()
        assert len(first) == 32
    vault.close()
    again = Vault.open(layout, master_key)
    with again.wrapped_key("ledger-mac") as three:
        assert three.matches(first)
    again.close()
    assert all(first not in path.read_bytes() for path in layout.root.rglob("*") if path.is_file())


async def test_only_one_process_has_the_vault_open(layout: DataLayout, master_key: bytes) -> None:
    vault = Vault.open(layout, master_key)
    with pytest.raises(VaultError, match="Another process has the vault"):
        Vault.open(layout, master_key)
    vault.close()
    Vault.open(layout, master_key).close()


async def test_two_that_store_the_same_name_at_once_get_one_credential_and_one_conflict(
    vault: Vault, binding: Callable
) -> None:
    outcomes = await asyncio.gather(
        *(vault.store("github", "", (binding(),), f"secret-{number}") for number in range(8)), return_exceptions=True
    )
    stored = [outcome for outcome in outcomes if isinstance(outcome, Credential)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Refusal)]
    assert (len(stored), len(refused)) == (1, 7)
    assert {refusal.problem.code for refusal in refused} == {ProblemCode.CONFLICT}


async def test_a_change_that_was_cancelled_half_way_is_whole(vault: Vault, binding: Callable) -> None:
    await vault.store("github", "", (binding(),), "first-secret")
    change = asyncio.ensure_future(vault.rotate("github", "second-secret"))
    await asyncio.sleep(0)
    change.cancel()
    with pytest.raises(asyncio.CancelledError):
        await change
    await vault.store("gitlab", "", (binding(),), "x-secret")
    found = vault.find("github")
    rows = vault.database.run_now(
        lambda connection: connection.execute(
            CREDENTIAL_VERSIONS.select().where(CREDENTIAL_VERSIONS.c.credential_id == found.id)
        ).all()
    )
    assert [row.version for row in rows] == [found.version]
    assert reveal(vault, found) == (b"second-secret" if found.version == 2 else b"first-secret")


@pytest.mark.parametrize(
    ("spoil", "mend", "name"),
    [
        ("PRAGMA query_only = ON", "PRAGMA query_only = OFF", "SQLITE_READONLY"),
        ("PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "SQLITE_FULL"),
    ],
)
async def test_a_disk_that_refuses_leaves_the_vault_as_it_was(
    vault: Vault, binding: Callable, spoil: str, mend: str, name: str
) -> None:
    await vault.store("github", "", (binding(),), "first-secret")
    driver = vault.database._engine.raw_connection()
    driver.execute(spoil)
    big = "s" * SECRET_LIMIT
    for attempt in (vault.rotate("github", big), vault.store("x", "", (binding(),), big)):
        with pytest.raises(Refusal) as caught:
            await attempt
        assert caught.value.problem.code is ProblemCode.VAULT_UNAVAILABLE
        assert name in caught.value.problem.detail
    driver.execute(mend)
    driver.close()
    assert reveal(vault, vault.find("github")) == b"first-secret"
    assert [credential.service for credential in vault.list()] == ["github"]


async def test_what_is_known_of_a_credential_does_not_tell_its_secret(vault: Vault, binding: Callable) -> None:
    stored = await vault.store("github", "mine", (binding(),), SECRET)
    assert SECRET not in repr(stored)
    assert SECRET not in repr(vault._contents)
    assert SECRET not in json.dumps(vars(stored), default=str)


async def test_a_secret_that_its_binding_could_never_send_is_refused_at_every_way_in(
    vault: Vault, binding: Callable
) -> None:
    as_password = replace(binding(), inject=Basic(name="me"))
    await vault.store("other", "", (as_password,), "pässwörd")
    await vault.store("third", "", (binding(),), "plain-secret")
    for attempt in (
        vault.store("github", "", (as_password, binding()), "pässwörd"),
        vault.rotate("third", "pässwörd"),
        vault.bind("other", (binding(),)),
    ):
        with pytest.raises(Refusal) as caught:
            await attempt
        problem = caught.value.problem
        assert problem.code is ProblemCode.INVALID_REQUEST
        assert problem.detail.startswith("secret: it holds a space or a character outside ASCII")
        assert "pässwörd" not in problem.detail + problem.next
        assert "basic:USER" in problem.next
    assert vault.find("github") is None
    assert reveal(vault, vault.find("third")) == b"plain-secret"
    assert vault.find("other").bindings == (as_password,)
