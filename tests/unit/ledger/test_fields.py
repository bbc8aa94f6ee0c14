from __future__ import annotations

import pkgutil
import re

import pytest

from mycelos.ledger.events import EVENTS
from mycelos.ledger.fields import FIELDS, FieldType

NAMES_OF_SECRETS = re.compile(
    r"secret|password|passwd|plaintext|bearer|cookie|authorization|header|body|query|fragment|private|"
    r"credential$|^key$|^token$|^value$|^url$|^args|^content$|^text$|^prompt$"
)


def test_every_field_of_an_event_is_declared_and_every_declared_field_is_used():
    used = frozenset().union(*(rule.fields for rule in EVENTS.values()))
    assert used == set(FIELDS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_no_field_is_a_place_for_a_secret(name):
    assert not NAMES_OF_SECRETS.search(name)


GATEWAY_S = "mycelos.proxy.stored_secrets.StoredSecrets.is_in_draft"
"""Whatever the gateway claims is looked through for stored secrets in every spelling, and refused whole."""
PROXY_S = "mycelos.proxy.egress.trail.Trail.read"
"""What the proxy writes of a call is written without any stored secret; the call is refused."""
MADE_HERE = "mycelos.wire.identifiers.make_identifier"
LABEL = "mycelos.wire.operator.check_label"
SERVICE = "mycelos.wire.operator.check_service"

HOLDS = {
    "a word of a closed list of ours": (
        ("address_class code decision door error event form from_version inject_form layer method methods missing mode "
         "phase process profile reasons scheme scopes stage version wall walls changed"), ""),
    "an identifier of ours, made of a time and random bits that open nothing": (
        ("agent_id approval_id chat_id credential_id job_id key_id memory_id passkey_id previous_key_id rule_id run_id "
         "session_id telegram_id token_id"), MADE_HERE),
    "a digest, a public key or a signature, all of which may be known": (
        ("binding_digest leaf_hash policy_digest previous_digest previous_public_key previous_signature public_key "
         "request_digest sha256 signature vault_digest"), ""),
    "a time": ("expires_at locked_until made_at since", ""),
    "where a request goes or comes from, without user, query and fragment": (
        "address addresses host hosts origin path paths peer", PROXY_S),
    "a name that a person or an agent gave": (
        "call_id capabilities matched_capability model name package program purpose server tool tools", GATEWAY_S),
    "the name of a credential": ("service services", SERVICE),
    "the name of a file, without its folder": ("file_label", "mycelos.ledger.text.shorten"),
    "a person's own note": ("label", LABEL),
    "a bound that a run met": ("limit", ""),
}  # fmt: skip
"""Every field of text: what it holds, and what keeps a secret out where its words are not ours."""


def test_each_field_of_text_says_what_it_holds():
    told = [name for names, _ in HOLDS.values() for name in names.split()]
    assert sorted(told) == sorted(name for name, kind in FIELDS.items() if kind in {FieldType.TEXT, FieldType.TEXTS})


@pytest.mark.parametrize("bound", sorted({bound for _, bound in HOLDS.values() if bound}))
def test_what_keeps_a_secret_out_of_a_field_exists(bound):
    assert callable(pkgutil.resolve_name(bound))
