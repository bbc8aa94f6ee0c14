from typing import Any

import msgspec
import pytest

from mycelos.wire.passkeys import Assertion, BeginEnrolment, FinishSignIn, Registration, RemovePasskey

RESPONSE = {"clientDataJSON": "eA", "authenticatorData": "eA", "signature": "eA"}


def test_what_a_browser_adds_is_passed_over_and_what_it_leaves_out_is_not() -> None:
    answer: dict[str, Any] = {
        "id": "eA", "rawId": "eA", "type": "public-key", "response": {**RESPONSE, "userHandle": None},
        "clientExtensionResults": {}, "authenticatorAttachment": "platform",
    }  # fmt: skip
    assert msgspec.convert(answer, Assertion).response.user_handle is None
    for name in ("id", "type", "response"):
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({key: value for key, value in answer.items() if key != name}, Assertion)
    for name in RESPONSE:
        with pytest.raises(msgspec.ValidationError, match=name):
            msgspec.convert({**answer, "response": {k: v for k, v in RESPONSE.items() if k != name}}, Assertion)


def test_the_messages_of_the_door_itself_are_closed() -> None:
    for message_type, good in (
        (BeginEnrolment, {"session": "a" * 64, "label": "laptop"}),
        (FinishSignIn, {"assertion": {"id": "eA", "type": "public-key", "response": RESPONSE}}),
        (RemovePasskey, {"id": "passkey_01h2xcejqtf2nbrexx3vqjhp41"}),
    ):
        assert msgspec.convert(good, message_type)
        with pytest.raises(msgspec.ValidationError, match="more"):
            msgspec.convert({**good, "more": 1}, message_type)


@pytest.mark.parametrize("label", ["", "  ", "x" * 129, "a\nb", "a\u202eb"])
def test_a_label_is_one_that_a_person_can_read(label: str) -> None:
    with pytest.raises(ValueError, match="label"):
        BeginEnrolment(session="a" * 64, label=label)


@pytest.mark.parametrize("value", ["", "a b", "a+b", "a=", "x" * 65537, "é"])
def test_bytes_are_base64url_without_padding(value: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"id": value, "type": "public-key", "response": {}}, Registration)
