"""GitHub's tools: where they send, what they inject, what they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from gateway_back import BINDING, ISSUES, answered

from mycelos.demo.script import Use, scenarios
from mycelos.gateway.tools.github import GitHub
from mycelos.gateway.tools.permit import Permit, digest
from mycelos.wire.audit import AppendReceipt
from mycelos.wire.egress import CredentialSummary, HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

pytestmark = pytest.mark.anyio

REPOSITORY = {"repository": "mycelos/garden"}


class Proxy:
    """Remembers the calls."""

    def __init__(self, answer: HttpAnswer, bindings: list[dict[str, Any]] | None = None) -> None:
        self.calls: list[HttpCall] = []
        self._answer = answer
        self._bindings = [BINDING] if bindings is None else bindings

    async def http(self, call: HttpCall) -> HttpAnswer:
        self.calls.append(call)
        return self._answer

    async def credentials(self) -> list[CredentialSummary]:
        if not self._bindings:
            return []
        return [
            CredentialSummary(
                service="github", label="", created_at="", bindings=tuple(self._bindings), last_used_at=None
            )
        ]

    async def call(self, name: str, args: dict[str, Any]) -> Any:
        tool = next(tool for tool in GitHub(self.http, self.credentials).tools() if tool.name == name)
        receipt = AppendReceipt(seq=0, leaf_hash="0" * 64, checkpoint=None)
        return await tool.call(Permit("run_x", "assistant", name, digest(args), receipt), args)


async def test_issues_are_read_where_the_credential_is_bound_to() -> None:
    local = BINDING | {"scheme": "http", "host": "127.0.0.1", "port": 8080, "path": ["api"], "methods": ["GET"]}
    proxy = Proxy(answered(json.dumps(ISSUES)), [BINDING | {"methods": ["POST"]}, local])
    answer = await proxy.call("github.read.issues", REPOSITORY)
    (call,) = proxy.calls
    assert call.url == "http://127.0.0.1:8080/api/repos/mycelos/garden/issues?state=open&per_page=20"
    assert (call.inject_credential, call.method, call.run_id, call.purpose) == (
        "github",
        "GET",
        "run_x",
        "github.read.issues",
    )
    assert json.loads(answer.content)[0]["title"] == "Moss"
    assert "untrusted" in answer.labels


async def test_repositories_are_ones_own_or_an_owners() -> None:
    proxy = Proxy(answered(json.dumps([{"full_name": "a/b", "private": True, "secret_field": 1}])))
    answer = await proxy.call("github.read.repos", {})
    await proxy.call("github.read.repos", {"owner": "ada", "limit": 5})
    assert [call.url.removeprefix("https://api.github.com") for call in proxy.calls] == [
        "/user/repos?per_page=20",
        "/users/ada/repos?per_page=5",
    ]
    assert "secret_field" not in answer.content


async def test_a_comment_is_posted_as_json() -> None:
    proxy = Proxy(answered('{"id": 9}', status=201))
    await proxy.call("github.write.comment", {**REPOSITORY, "issue": 3, "text": "Hello"})
    (call,) = proxy.calls
    assert (call.method, call.body) == ("POST", {"body": "Hello"})
    assert call.url.endswith("/repos/mycelos/garden/issues/3/comments")


@pytest.mark.parametrize(
    "repository", ["garden", "a/b/c", "../b", "a/..", "./b", "a/b?x=1", "a/%2e%2e", "a/b\n", "a b/c", "é/b", "/b", "a/"]
)
async def test_a_name_that_would_change_the_path_is_refused_before_anything_is_sent(repository: str) -> None:
    proxy = Proxy(answered("[]"))
    with pytest.raises(Refusal, match="invalid_request"):
        await proxy.call("github.read.issues", {"repository": repository})
    assert proxy.calls == []


@pytest.mark.parametrize(
    ("answer", "bindings", "code"),
    [
        (answered("[]", status=404), None, ProblemCode.UPSTREAM_INVALID),
        (answered("{"), None, ProblemCode.UPSTREAM_INVALID),
        (answered('[{"number": "x"}]'), None, ProblemCode.UPSTREAM_INVALID),
        (answered("[]"), [], ProblemCode.CREDENTIAL_UNKNOWN),
        (answered("[]"), [BINDING | {"methods": ["POST"]}], ProblemCode.BINDING_VIOLATION),
    ],
)
async def test_what_cannot_be_read_says_why(
    answer: HttpAnswer, bindings: list[dict[str, Any]] | None, code: ProblemCode
) -> None:
    with pytest.raises(Refusal) as refused:
        await Proxy(answer, bindings).call("github.read.issues", REPOSITORY)
    assert refused.value.problem.code is code
    assert refused.value.problem.next


async def test_the_scripted_model_and_the_tools_mean_the_same_arguments() -> None:
    proxy = Proxy(answered('{"id": 1}'))
    tools = {tool.name: tool for tool in GitHub(proxy.http, proxy.credentials).tools()}
    checked = set()
    for scenario in scenarios("http://thief.test"):
        for step in scenario.steps:
            if (
                isinstance(step, Use)
                and step.tool in tools
                and step.arguments
                and scenario.keyword != "wrong arguments"
            ):
                tools[step.tool].check(step.arguments)
                checked.add(step.tool)
    assert checked == {"github.read.issues", "github.write.comment"}
