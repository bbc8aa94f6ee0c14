import ast
import copy
import gc
import inspect
import json
import logging
import marshal
import os
import pickle
import pprint
import traceback
import weakref
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mycelos.proxy.vault import envelope, hazmat
from mycelos.proxy.vault.hazmat import SealBrokenError, Secret
from mycelos.wire.secret_forms import secret_forms

CANARY = b"canary-8f1b2c"


@pytest.fixture(scope="module")
def keys() -> envelope.SlotKeys:
    return envelope.make_slot(bytes(32), "tenant_a", "kid_a", "2026-01-01T00:00:00Z", os.urandom)[1]


def seal(keys: envelope.SlotKeys, **changes: object) -> envelope.SealedRecord:
    arguments = {
        "tenant_id": "tenant_a", "record_id": "cred_a", "version": 1, "service": "github", "label": "mine",
        "bindings": '[{"host":"a"}]', "secret": CANARY, "randomness": os.urandom,
    }  # fmt: skip
    return envelope.seal_record(keys, **{**arguments, **changes})


def opens(keys: envelope.SlotKeys, record: envelope.SealedRecord) -> bool:
    try:
        with hazmat.open_record(keys, record) as secret:
            return secret.reveal() == CANARY
    except SealBrokenError:
        return False


def test_every_flipped_bit_of_a_sealed_record_is_refused(keys: envelope.SlotKeys) -> None:
    record = seal(keys)
    assert opens(keys, record)
    cases = 0
    for name in ("wrapped_key", "payload"):
        stored = getattr(record, name)
        for position in range(len(stored) * 8):
            flipped = bytearray(stored)
            flipped[position // 8] ^= 1 << (position % 8)
            assert not opens(keys, replace(record, **{name: bytes(flipped)}))
            cases += 1
    assert cases == (12 + 32 + 16 + 12 + len(CANARY) + 16) * 8


def test_every_shortened_or_lengthened_record_is_refused(keys: envelope.SlotKeys) -> None:
    record = seal(keys)
    for name in ("wrapped_key", "payload"):
        stored = getattr(record, name)
        for other in [stored[:length] for length in range(len(stored))] + [stored + b"\x00", b""]:
            assert not opens(keys, replace(record, **{name: other}))


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "tenant_b"},
        {"record_id": "cred_b"},
        {"version": 2},
        {"service": "gitlab"},
        {"label": "yours"},
        {"bindings": '[{"host":"b"}]'},
        {"bindings": "[]"},
        {"bindings": "{"},
        {"kid": "kid_b"},
    ],
)
def test_a_record_that_was_moved_renamed_or_rebound_is_refused(keys: envelope.SlotKeys, change: dict) -> None:
    assert not opens(keys, replace(seal(keys), **change))


def test_records_whose_parts_were_swapped_are_refused(keys: envelope.SlotKeys) -> None:
    one, other = seal(keys), seal(keys, record_id="cred_b", service="gitlab")
    newer = seal(keys, version=2)
    for name in ("wrapped_key", "payload"):
        for stranger in (other, newer):
            assert not opens(keys, replace(one, **{name: getattr(stranger, name)}))
    for stranger in (other, newer):
        both = replace(one, wrapped_key=stranger.wrapped_key, payload=stranger.payload)
        assert not opens(keys, both)


def test_without_the_binding_of_the_metadata_a_rebound_record_would_open(
    keys: envelope.SlotKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wall taken away: the same attack succeeds when the metadata is not associated."""
    monkeypatch.setattr(envelope, "payload_associated_data", lambda **_: b"nothing")
    record = seal(keys)
    assert opens(keys, replace(record, bindings='[{"host":"attacker"}]'))


def test_another_root_or_master_key_is_refused() -> None:
    slot, keys = envelope.make_slot(bytes(32), "t", "kid_a", "now", os.urandom)
    _, strangers = envelope.make_slot(bytes(32), "t", "kid_a", "now", os.urandom)
    assert not opens(strangers, seal(keys))
    hazmat.open_slot(bytes(32), slot)
    with pytest.raises(SealBrokenError):
        hazmat.open_slot(b"\x01" + bytes(31), slot)
    for change in ({"kid": "kid_b"}, {"tenant_id": "u"}, {"created_at": "then"}, {"kdf": "none"}, {"kdf": ""}):
        with pytest.raises(SealBrokenError):
            hazmat.open_slot(bytes(32), replace(slot, **change))
    for position in range(len(slot.wrapped_root) * 8):
        flipped = bytearray(slot.wrapped_root)
        flipped[position // 8] ^= 1 << (position % 8)
        with pytest.raises(SealBrokenError):
            hazmat.open_slot(bytes(32), replace(slot, wrapped_root=bytes(flipped)))


def test_a_long_lived_key_opens_under_its_own_name_only(keys: envelope.SlotKeys) -> None:
    wrapped = envelope.make_wrapped_key(keys, tenant_id="t", key_id="key_a", name="ledger-mac", randomness=os.urandom)
    with hazmat.open_wrapped_key(keys, wrapped) as secret:
        assert len(secret.reveal()) == 32
    for change in ({"name": "other"}, {"key_id": "key_b"}, {"tenant_id": "u"}, {"kid": "kid_b"}):
        with pytest.raises(SealBrokenError):
            hazmat.open_wrapped_key(keys, replace(wrapped, **change))


def test_a_wrapped_data_key_is_no_long_lived_key(keys: envelope.SlotKeys) -> None:
    record = seal(keys)
    disguised = envelope.WrappedKey("tenant_a", "cred_a", "github", "kid_a", record.wrapped_key)
    with pytest.raises(SealBrokenError):
        hazmat.open_wrapped_key(keys, disguised)


def test_a_secret_is_readable_inside_its_block_only() -> None:
    secret = Secret(bytearray(CANARY))
    with pytest.raises(ValueError, match="inside its with block"):
        secret.reveal()
    with secret:
        assert secret.reveal() == CANARY
        assert secret.matches(CANARY)
        assert not secret.matches(CANARY + b"x")
    for attempt in (secret.reveal, lambda: secret.matches(CANARY), secret.__enter__):
        with pytest.raises(ValueError, match="secret"):
            attempt()


def test_the_buffer_is_zeros_after_the_block_also_when_it_ends_in_an_error() -> None:
    buffer = bytearray(CANARY)
    with pytest.raises(RuntimeError), Secret(buffer):
        raise RuntimeError
    assert buffer == bytes(len(CANARY))


def test_the_buffer_is_zeros_when_a_secret_is_dropped_unopened() -> None:
    buffer = bytearray(CANARY)
    secret = Secret(buffer)
    del secret
    gc.collect()
    assert buffer == bytes(len(CANARY))


def test_a_secret_does_not_print_pickle_copy_encode_compare_or_hash() -> None:
    with Secret(bytearray(CANARY)) as secret:
        assert repr(secret) == str(secret) == "<Secret>"
        assert "canary" not in f"{[secret]} {dir(secret)}"
        for attempt in (
            lambda: pickle.dumps(secret),
            lambda: copy.copy(secret),
            lambda: copy.deepcopy(secret),
            lambda: json.dumps(secret),
            lambda: msgspec.json.encode(secret),
            lambda: bytes(secret),
            lambda: f"{secret:>20}",
            lambda: hash(secret),
            lambda: secret == secret,
            lambda: vars(secret),
            lambda: len(secret),
            lambda: list(secret),
            lambda: [*secret],
            lambda: secret[0],
            lambda: b"c" in secret,
            lambda: secret + b"x",
            lambda: secret < secret,
            lambda: secret != secret,
            lambda: secret == CANARY,
            lambda: {secret},
            lambda: str(secret, "utf-8"),
            lambda: memoryview(secret),
            lambda: f"{secret}",
            lambda: "{}".format(secret),  # noqa: UP032 - this way too
            lambda: pickle.dumps(secret, protocol=0),
            lambda: weakref.ref(secret),
            lambda: copy.copy([secret]) and copy.deepcopy([secret]),
            lambda: msgspec.to_builtins(secret),
        ):
            with pytest.raises(TypeError):
                attempt()
        with pytest.raises(ValueError, match="unmarshallable"):
            marshal.dumps([secret])
        with pytest.raises(AttributeError):
            secret.note = CANARY


def test_all_or_none_are_opened_and_each_is_destroyed(keys: envelope.SlotKeys) -> None:
    good, bad = seal(keys), replace(seal(keys), label="changed")
    with hazmat.open_all(keys, [good, good]) as secrets:
        assert [secret.reveal() for secret in secrets] == [CANARY, CANARY]
    for secret in secrets:
        with pytest.raises(ValueError, match="inside"):
            secret.reveal()
    with pytest.raises(SealBrokenError), hazmat.open_all(keys, [good, bad]):
        pytest.fail("the block must not begin")


def test_resealing_moves_the_secret_under_new_metadata_and_a_new_version(keys: envelope.SlotKeys) -> None:
    record = seal(keys)
    moved = hazmat.reseal(keys, record, label="other", bindings="[]", check=lambda _: None, randomness=os.urandom)
    assert (moved.version, moved.label, moved.bindings) == (2, "other", "[]")
    assert opens(keys, moved)
    with pytest.raises(SealBrokenError):
        hazmat.reseal(
            keys, replace(record, label="forged"), label="x", bindings="[]", check=pytest.fail, randomness=os.urandom
        )


def test_no_other_module_of_the_project_decrypts(repository: Path) -> None:
    found = {
        str(path.relative_to(repository / "src/mycelos"))
        for path in (repository / "src/mycelos").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"decrypt", "decrypt_into", "decryptor"}
    }
    assert found == {"proxy/vault/hazmat.py"}


def test_what_prints_everything_prints_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    with Secret(bytearray(CANARY)) as secret:
        try:
            int(secret)
        except TypeError as error:
            told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
            logging.getLogger("x").exception("failed with %s and %r", secret, {"held": secret})
        told += caplog.text + pprint.pformat({"held": secret}) + "{!s} {!r} {!a}".format(*[secret] * 3)
        told += f"{secret!s} {secret!r}" + ascii(secret) + repr(inspect.getmembers(type(secret)))
    assert "<Secret>" in told
    for form in secret_forms(CANARY):
        assert form not in told.encode()


def test_a_secret_is_opened_in_few_places_and_each_lets_it_go_with_its_block(repository: Path) -> None:
    """Whoever reveals does it inside a ``with``, and where is known: a new place is a decision."""
    source = repository / "src/mycelos"
    places = {}
    for path in source.rglob("*.py"):
        tree = ast.parse(path.read_text())
        inside = {
            inner
            for block in ast.walk(tree)
            if isinstance(block, ast.With | ast.AsyncWith)
            for statement in block.body
            for inner in ast.walk(statement)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "reveal" and path.name != "hazmat.py":
                assert node in inside, f"{path}:{node.lineno}"
                places.setdefault(str(path.relative_to(source)), 0)
                places[str(path.relative_to(source))] += 1
    assert places == {
        "proxy/egress/pipeline.py": 2,
        "proxy/gateway_door.py": 1,
        "proxy/key_rotation.py": 1,
        "proxy/stored_secrets.py": 1,
        "proxy/vault/signing.py": 1,
        "prove/credentials.py": 1,
    }


def test_nothing_of_the_proxy_remembers_what_a_function_returned_but_what_a_seal_binds(repository: Path) -> None:
    found = {
        (str(path.relative_to(repository / "src/mycelos")), ast.unparse(decorator))
        for path in (repository / "src/mycelos/proxy").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for decorator in getattr(node, "decorator_list", [])
        if "cache" in ast.unparse(decorator)
    }
    # What a seal binds, made of plain columns.
    assert found == {("proxy/vault/envelope.py", "cached_property")}
