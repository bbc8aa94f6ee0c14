import copy
import json
import os
import pickle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mycelos.proxy.vault import envelope, hazmat
from mycelos.proxy.vault.envelope import KeySlot, SealedRecord, WrappedKey
from mycelos.wire.binding import Binding
from mycelos.wire.identifiers import Kind, make_identifier


def vector(repository: Path) -> dict:
    return json.loads((repository / "tests/vectors/vault/envelope-v1.json").read_text())


def counting_bytes(start: int = 0):
    """A source of bytes that are all different and always the same: for vectors alone."""
    state = [start]

    def give(count: int) -> bytes:
        given = bytes((state[0] + index) % 256 for index in range(count))
        state[0] += count
        return given

    return give


def make_vector() -> dict:
    """The golden file's content, from nothing but fixed inputs."""
    randomness = counting_bytes()
    master_key, tenant = bytes(range(100, 132)), "tenant_00000000000000000000000000"
    kid = make_identifier(Kind.KEY_SLOT, 1_700_000_000_000, bytes(10))
    record_id = make_identifier(Kind.CREDENTIAL, 1_700_000_000_001, bytes(10))
    key_id = make_identifier(Kind.WRAPPED_KEY, 1_700_000_000_002, bytes(10))
    bindings = (
        '[{"confirm":false,"host":"api.example.com","inject":{"form":"header","name":"X-Key"},"methods":["GET","POST"],'
        '"path":["v1","items"],"port":443,"query":["page"],"quota":{"bytes_per_day":1000,"requests_per_day":10},'
        '"response":{"location_query":"redact","set_cookie":"drop"},"scheme":"https","v":1}]'
    )
    slot, keys = envelope.make_slot(master_key, tenant, kid, "2026-01-02T03:04:05Z", randomness)
    record = envelope.seal_record(
        keys,
        tenant_id=tenant,
        record_id=record_id,
        version=3,
        service="example",
        label="Für Tests",
        bindings=bindings,
        secret=b"a secret that is none",
        randomness=randomness,
    )
    wrapped = envelope.make_wrapped_key(keys, tenant_id=tenant, key_id=key_id, name="ledger-mac", randomness=randomness)
    row = {"id": "rule_x", "port": 443, "host": None}
    return {
        "master_key": master_key.hex(),
        "key_slot": {
            "kid": kid,
            "tenant": tenant,
            "kdf": slot.kdf,
            "created_at": slot.created_at,
            "wrapped_root": slot.wrapped_root.hex(),
            "associated_data": envelope.slot_associated_data(tenant, kid, slot.created_at).decode(),
        },
        "credential": {
            "record": record_id,
            "version": 3,
            "service": record.service,
            "label": record.label,
            "bindings": bindings,
            "secret": "a secret that is none",
            "wrapped_key": record.wrapped_key.hex(),
            "wrapped_key_associated_data": envelope.wrap_associated_data(kid, tenant, record_id, 3).decode(),
            "payload": record.payload.hex(),
            "payload_associated_data": record.payload_associated_data.decode(),
        },
        "wrapped_key": {
            "record": key_id,
            "name": "ledger-mac",
            "wrapped_key": wrapped.wrapped_key.hex(),
            "associated_data": envelope.named_key_associated_data(kid, tenant, key_id, "ledger-mac").decode(),
            "key": wrapped_plain(keys, wrapped).hex(),
        },
        "row": {"table": "egress_rules", "columns": row, "mac": keys.row_mac("egress_rules", row).hex()},
    }


def wrapped_plain(keys: envelope.SlotKeys, wrapped: WrappedKey) -> bytes:
    with hazmat.open_wrapped_key(keys, wrapped) as secret:
        return secret.reveal()


def test_the_formats_are_those_of_the_golden_file(repository: Path) -> None:
    assert make_vector() == vector(repository)


def test_the_golden_file_opens(repository: Path) -> None:
    golden = vector(repository)
    slot = golden["key_slot"]
    keys = hazmat.open_slot(
        bytes.fromhex(golden["master_key"]),
        KeySlot(
            slot["kid"], slot["tenant"], slot["kdf"], bytes.fromhex(slot["wrapped_root"]), slot["created_at"], None
        ),
    )
    stored = golden["credential"]
    record = SealedRecord(
        slot["tenant"], stored["record"], stored["version"], stored["service"], stored["label"], stored["bindings"],
        slot["kid"], bytes.fromhex(stored["wrapped_key"]), bytes.fromhex(stored["payload"]),
    )  # fmt: skip
    with hazmat.open_record(keys, record) as secret:
        assert secret.reveal() == stored["secret"].encode()
    row = golden["row"]
    assert keys.row_holds(row["table"], row["columns"], bytes.fromhex(row["mac"]))


def test_the_golden_file_opens_with_nothing_but_the_written_format(repository: Path) -> None:
    """What docs/security/vault-format.md says, done by hand with the standard library and a cipher."""
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    def hkdf(key: bytes, info: bytes) -> bytes:
        extracted = hmac.digest(bytes(32), key, hashlib.sha256)
        return hmac.digest(extracted, info + b"\x01", hashlib.sha256)

    def unseal(key: bytes, sealed: str, associated: str) -> bytes:
        data = bytes.fromhex(sealed)
        return AESGCM(key).decrypt(data[:12], data[12:], associated.encode())

    golden = vector(repository)
    slot, stored, row = golden["key_slot"], golden["credential"], golden["row"]
    slot_key = hkdf(bytes.fromhex(golden["master_key"]), b"mycelos/vault/1/slot\x00" + slot["kid"].encode())
    root = unseal(slot_key, slot["wrapped_root"], slot["associated_data"])
    wrapping = hkdf(root, b"mycelos/vault/1/key-encryption")
    data_key = unseal(wrapping, stored["wrapped_key"], stored["wrapped_key_associated_data"])
    metadata = json.dumps(
        {"bindings": json.loads(stored["bindings"]), "label": stored["label"], "service": stored["service"]},
        sort_keys=True, separators=(",", ":"), ensure_ascii=False,
    )  # fmt: skip
    associated = json.dumps(
        {
            "format": "mycelos/credential/1", "metadata": hashlib.sha256(metadata.encode()).hexdigest(),
            "record": stored["record"], "tenant": slot["tenant"], "version": stored["version"],
        },
        sort_keys=True, separators=(",", ":"),
    )  # fmt: skip
    assert associated == stored["payload_associated_data"]
    assert unseal(data_key, stored["payload"], associated) == stored["secret"].encode()
    body = json.dumps(
        {"columns": row["columns"], "format": "mycelos/row/1", "table": row["table"]},
        sort_keys=True, separators=(",", ":"),
    )  # fmt: skip
    assert hmac.digest(hkdf(root, b"mycelos/vault/1/row-mac"), body.encode(), hashlib.sha256).hex() == row["mac"]


def test_the_golden_binding_is_canonical(repository: Path) -> None:
    text = (repository / "tests/vectors/vault/bindings-v1.json").read_text().strip()
    bindings = msgspec.json.decode(text, type=tuple[Binding, ...])
    assert envelope.canonical_bindings(bindings) == text
    assert len({type(binding.inject) for binding in bindings}) == 4


@given(st.binary(min_size=1, max_size=300), st.text(max_size=40), st.integers(1, 2**40))
def test_what_is_sealed_opens_and_never_looks_the_same_twice(secret: bytes, label: str, version: int) -> None:
    _, keys = envelope.make_slot(bytes(32), "tenant_x", "kid_x", "now", os.urandom)
    arguments = {
        "tenant_id": "tenant_x", "record_id": "cred_x", "version": version, "service": "s", "label": label,
        "bindings": "[]", "secret": secret, "randomness": os.urandom,
    }  # fmt: skip
    one, two = envelope.seal_record(keys, **arguments), envelope.seal_record(keys, **arguments)
    with hazmat.open_record(keys, one) as opened:
        assert opened.reveal() == secret
    assert one.payload != two.payload
    assert one.wrapped_key != two.wrapped_key
    if len(secret) > 8:
        assert secret not in one.payload


def test_a_row_mac_depends_on_each_column_its_name_and_the_table() -> None:
    _, keys = envelope.make_slot(bytes(32), "t", "k", "now", counting_bytes())
    tag = keys.row_mac("rules", {"a": "1", "b": 2, "c": None})
    assert keys.row_holds("rules", {"c": None, "b": 2, "a": "1"}, tag)
    for table, columns in (
        ("rule", {"a": "1", "b": 2, "c": None}),
        ("rules", {"a": "2", "b": 2, "c": None}),
        ("rules", {"a": "1", "b": "2", "c": None}),
        ("rules", {"a": "1", "b": 2, "c": ""}),
        ("rules", {"a": "1", "b": 2}),
        ("rules", {"b": "1", "a": 2, "c": None}),
    ):
        assert not keys.row_holds(table, columns, tag)
    assert not keys.row_holds("rules", {"a": "1", "b": 2, "c": None}, tag[:-1])


def test_keys_do_not_print_and_are_not_written_down() -> None:
    _, keys = envelope.make_slot(bytes(32), "t", "kid_z", "now", counting_bytes())
    assert repr(keys) == "SlotKeys('kid_z')"
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(keys)
