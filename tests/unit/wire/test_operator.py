import msgspec
import pytest

from mycelos.wire.decoding import decode_json
from mycelos.wire.operator import (
    SECRET_LIMIT,
    AddRule,
    BindCredential,
    DeleteCredential,
    LinkCreated,
    ListRules,
    RedeemLink,
    RemoveRule,
    RotateCredential,
    RuleRequest,
    SetWeb,
    StoreCredential,
    check_label,
    check_secret,
    check_service,
    resembles,
)
from mycelos.wire.problems import Refusal

SECRET = "canary-wire-93"


@pytest.mark.parametrize("name", ["a", "github", "my-api_2", "a" * 64])
def test_a_service_has_a_plain_name(name: str) -> None:
    check_service(name)


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a b", "a\n", "gitһub", "a" * 65, "a/b", "a.b", "é"])
def test_another_name_is_refused_by_its_field(name: str) -> None:
    with pytest.raises(ValueError, match="^service: expected"):
        check_service(name)


@pytest.mark.parametrize(
    ("one", "other"), [("github", "glthub"), ("my-api", "my_api"), ("corn", "com"), ("b0b", "bob")]
)
def test_names_that_look_alike_are_told_apart_from_those_that_do_not(one: str, other: str) -> None:
    assert resembles(one, other)
    assert resembles(other, one)
    assert not resembles(one, one)
    assert not resembles(one, "gitlab")


def test_a_label_is_visible_text_on_one_line() -> None:
    for label in ("", "Für mich, lesend", "x" * 128):
        check_label(label)
    for label in ("x" * 129, "a\nb", "a\x00", "a\u202eb", "a\u200bb", "a\u2028b", "\x1b[31m"):
        with pytest.raises(ValueError, match="^label: expected"):
            check_label(label)


def test_a_secret_is_one_line_of_bounded_length() -> None:
    for secret in ("x" * 8, "a b c d e", "pässword", "éééé", "s" * SECRET_LIMIT, "€" * (SECRET_LIMIT // 3)):
        check_secret(secret)
    for secret in (
        "",
        "ab",
        "x" * 7,
        "ééé",
        "a\n",
        "a\r",
        "a\x00",
        " a",
        "a\t",
        "s" * (SECRET_LIMIT + 1),
        "€" * (SECRET_LIMIT // 3 + 1),
    ):
        with pytest.raises(ValueError, match="^secret: "):
            check_secret(secret)


def test_no_message_prints_its_secret_or_code() -> None:
    for message in (
        StoreCredential(service="a", secret=SECRET, template="github"),
        RotateCredential(service="a", secret=SECRET),
        LinkCreated(code=SECRET, expires_at="now"),
        RedeemLink(code=SECRET),
    ):
        assert SECRET not in repr(message)
        assert SECRET not in str(message)
        assert SECRET not in f"{[message]}"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (StoreCredential, {"service": "a", "secret": f"{SECRET}\n", "template": "t"}),
        (StoreCredential, {"service": SECRET.upper(), "secret": SECRET, "template": "t"}),
        (StoreCredential, {"service": "a", "secret": SECRET}),
        (StoreCredential, {"service": "a", "secret": SECRET, "template": "t", "bindings": [SECRET]}),
        (StoreCredential, {"service": "a", "secret": {"x": SECRET}, "template": "t"}),
        (RotateCredential, {"service": "a", "secret": f" {SECRET}"}),
        (RotateCredential, {"service": "a", "secret": SECRET, SECRET: 1}),
        (BindCredential, {"service": "a", "bindings": []}),
        (DeleteCredential, {"service": "../a"}),
        (RuleRequest, {"action": SECRET}),
        (RuleRequest, {"action": "add", "method": "GET", "scheme": SECRET, "host": "a", "port": 1}),
        (RuleRequest, {"action": "add", "method": "GET", "scheme": "http", "host": "a", "port": 0}),
        (RedeemLink, {"code": SECRET * 20}),
    ],
)
def test_a_message_that_does_not_fit_is_refused_without_quoting_a_value(kind: type, body: dict) -> None:
    with pytest.raises(Refusal) as caught:
        decode_json(msgspec.json.encode(body), kind, "request")
    text = str(caught.value)
    assert SECRET not in text.replace(f"no field `{SECRET}`", "")
    assert SECRET.upper() not in text


@pytest.mark.parametrize(
    "message",
    [
        ListRules(),
        AddRule(method="GET", scheme="https", host="a.example", port=443),
        RemoveRule(id="rule_x"),
        SetWeb(enabled=True),
    ],
)
def test_each_rule_request_is_told_by_its_action(message: msgspec.Struct) -> None:
    assert decode_json(msgspec.json.encode(message), RuleRequest, "request") == message
