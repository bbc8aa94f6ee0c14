from __future__ import annotations

import os
from dataclasses import replace

import pytest

from mycelos.proxy.vault import envelope, signing
from mycelos.proxy.vault.hazmat import SealBrokenError


@pytest.fixture
def keys() -> envelope.SlotKeys:
    return envelope.SlotKeys("kid_a", bytes(range(32)))


def make(keys: envelope.SlotKeys, randomness: object = os.urandom) -> envelope.WrappedKey:
    return envelope.make_wrapped_key(keys, tenant_id="t", key_id="key_a", name="n", randomness=randomness)


def test_a_signature_verifies_under_its_own_key_and_message_alone(keys: envelope.SlotKeys) -> None:
    one, other = make(keys), make(keys)
    signature = signing.sign(keys, one, b"message")
    assert len(signature) == 64
    public = signing.public_key(keys, one)
    assert signing.verifies(public, signature, b"message")
    assert not signing.verifies(public, signature, b"messagf")
    assert not signing.verifies(public, signature[:-1] + bytes([signature[-1] ^ 1]), b"message")
    assert not signing.verifies(public, signature[:-1], b"message")
    assert not signing.verifies(public[:-1], signature, b"message")
    assert not signing.verifies(signing.public_key(keys, other), signature, b"message")


def test_the_seed_is_that_of_rfc_8032(keys: envelope.SlotKeys) -> None:
    """The first vector of section 7.1: a seed, its public key and the signature of nothing."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    wrapped = make(keys, lambda length: seed if length == 32 else os.urandom(length))
    public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert signing.public_key(keys, wrapped).hex() == public
    assert signing.sign(keys, wrapped, b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        "d25bf5f0595bbe24655141438e7a100b"
    )


def test_a_key_that_was_altered_signs_nothing(keys: envelope.SlotKeys) -> None:
    with pytest.raises(SealBrokenError):
        signing.sign(keys, replace(make(keys), name="other"), b"message")
