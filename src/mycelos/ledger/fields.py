"""What an entry's ``details`` may hold: a closed list of field names, each with the type of its value.

No field is a place for a secret: a URL is written as scheme, host, port and path template, never with a query
or a fragment; bodies, headers and arguments are absent; free text is short and is text of ours or a label.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

TEXT_LIMIT: Final = 1024
"""Characters in one text, at most."""

LIST_LIMIT: Final = 64
"""Texts in one list, at most."""


class FieldType(StrEnum):
    """The type of a field's value."""

    BOOLEAN = "boolean"
    NUMBER = "number"
    TEXT = "text"
    TEXTS = "texts"


def _of(field_type: FieldType, names: str) -> dict[str, FieldType]:
    return dict.fromkeys(names.split(), field_type)


FIELDS: Final[Mapping[str, FieldType]] = MappingProxyType(
    _of(FieldType.BOOLEAN, "again clean confirm enabled resumed stream truncated web")
    | _of(
        FieldType.NUMBER,
        "attempts bytes_received bytes_sent count credential_version duration_ms elapsed_ms exit_code first_seq "
        "intent_seq keys_count last_seq model_requests port rows_count seq signal size status step_ms tool_calls "
        "url_bytes vault_generation version_number",
    )
    | _of(
        FieldType.TEXT,
        "address address_class agent_id approval_id binding_digest call_id chat_id code credential_id "
        "decision door error event expires_at file_label form from_version host inject_form job_id key_id label "
        "layer limit locked_until matched_capability memory_id method mode model name origin package passkey_id "
        "leaf_hash made_at path peer phase policy_digest previous_digest previous_key_id previous_public_key "
        "previous_signature process profile program public_key purpose request_digest rule_id run_id scheme "
        "server service session_id sha256 signature since stage telegram_id token_id tool vault_digest "
        "version wall",
    )
    | _of(
        FieldType.TEXTS,
        "addresses capabilities changed hosts methods missing paths reasons scopes services tools walls",
    )
)
"""Every field that any event may hold. ``method`` is an HTTP method or a way of signing in; ``host`` a name only."""
