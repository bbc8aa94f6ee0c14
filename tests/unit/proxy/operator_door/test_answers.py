import json
from typing import Any

import pytest
from operator_requests import SECRET, ask, bearer

from mycelos.proxy.operator_door.answers import BODY_LIMIT
from mycelos.wire.operator import SECRET_LIMIT


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "Not valid JSON"),
        (b"{", "Not valid JSON"),
        (b"[]", "Expected an object"),
        (b"\xff\xfe", "Not valid"),
        ({"service": "github"}, "The field `secret` is missing"),
        ({"service": "github", "secret": SECRET, "template": "github", "more": 1}, "There is no field `more`"),
        ({"service": SECRET * 9, "secret": SECRET, "template": "github"}, "service: expected"),
        ({"service": "github", "secret": f"{SECRET}\n", "template": "github"}, "secret: it holds a line break"),
        ({"service": "github", "secret": "", "template": "github"}, "secret: it is empty"),
        ({"service": "github", "secret": SECRET, "label": "a\u202eb", "template": "github"}, "label: expected"),
        ({"service": "github", "secret": SECRET}, "bindings: expected either"),
        ({"service": "github", "secret": SECRET, "bindings": [{"v": 1}]}, "is missing, in request.bindings"),
        ({"service": "github", "secret": SECRET, "bindings": [{"v": SECRET}]}, "request.bindings[0].v"),
    ],
)
def test_a_malformed_request_gets_an_error_that_names_the_field_and_not_the_secret(
    operator_system: Any, body: Any, detail: str
) -> None:
    status, problem, _ = ask(operator_system, "POST", "/credential/store", body, Authorization=bearer(operator_system))
    assert (status, problem["code"]) == (400, "invalid_request")
    assert detail in problem["detail"]
    assert SECRET not in json.dumps(problem)
    assert operator_system.client.credentials().credentials == ()


def test_a_request_is_json_of_a_bounded_size(operator_system: Any) -> None:
    headers = {"Authorization": bearer(operator_system)}
    status, problem, _ = ask(operator_system, "POST", "/credential/list", b"{}", **headers, Content_Type="text/plain")
    assert (status, problem["code"]) == (400, "invalid_request")
    big = b'{"service": "' + b"a" * BODY_LIMIT + b'"}'
    status, problem, _ = ask(operator_system, "POST", "/credential/list", big, **headers)
    assert (status, problem["code"]) == (413, "too_large")
    longest = {"service": "big", "secret": "\\" * SECRET_LIMIT, "template": "github"}
    assert ask(operator_system, "POST", "/credential/store", longest, **headers)[0] == 201
