"""GitHub's REST API through the proxy: the token is injected there, and the binding decides where it may go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec

from mycelos.gateway.tools.permit import Permit
from mycelos.gateway.tools.registry import Tool, ToolAnswer
from mycelos.wire.binding import Binding, Method
from mycelos.wire.egress import CredentialSummary, HttpAnswer, HttpCall
from mycelos.wire.problems import ProblemCode, Refusal

Answer = TypeVar("Answer")

SERVICE: Final = "github"
_SECONDS: Final = 30.0
_LABELS: Final = ("untrusted", "private", "from:github")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}

# Never a dot segment: each part becomes a segment of the path.
_PART: Final = "(?!\\.{1,2}(?:/|$))[A-Za-z0-9._-]{1,100}"
# `$` alone would let a line feed stand behind it.
_END: Final = "$(?!\\n)"
Owner = Annotated[str, msgspec.Meta(pattern=f"^{_PART}{_END}")]
Repository = Annotated[str, msgspec.Meta(pattern=f"^{_PART}/{_PART}{_END}", description="owner/name of the repository")]
Limit = Annotated[int, msgspec.Meta(ge=1, le=50)]


class ReadIssues(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which issues: those of a repository."""

    repository: Repository
    state: Literal["open", "closed", "all"] = "open"
    limit: Limit = 20


class ReadRepos(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whose repositories: the token owner's where no owner is named."""

    owner: Annotated[Owner | None, msgspec.Meta(description="user or organisation; leave out for one's own")] = None
    limit: Limit = 20


class WriteComment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A comment on an issue."""

    repository: Repository
    issue: Annotated[int, msgspec.Meta(ge=1, le=2**31, description="number of the issue")]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=65536)]


class _Person(msgspec.Struct, frozen=True):
    login: str


class _Issue(msgspec.Struct, frozen=True):
    number: int
    title: str
    state: str
    user: _Person | None = None
    body: str | None = None


class _Repository(msgspec.Struct, frozen=True):
    full_name: str
    private: bool = False
    description: str | None = None


class _Comment(msgspec.Struct, frozen=True):
    id: int


@dataclass(frozen=True)
class GitHub:
    """The tools' handlers. ``http`` and ``credentials`` are the proxy client's."""

    http: Callable[[HttpCall], Awaitable[HttpAnswer]]
    credentials: Callable[[], Awaitable[list[CredentialSummary]]]

    def tools(self) -> list[Tool]:
        """The tools, to be registered."""
        return [
            Tool("github.read.issues", "List the issues of a GitHub repository.", ReadIssues, self.read_issues),
            Tool("github.read.repos", "List GitHub repositories of an owner.", ReadRepos, self.read_repos),
            Tool("github.write.comment", "Write a comment on a GitHub issue.", WriteComment, self.write_comment),
        ]

    async def read_issues(self, permit: Permit, args: ReadIssues) -> ToolAnswer:
        """The issues as one JSON list."""
        path = f"/repos/{args.repository}/issues?state={args.state}&per_page={args.limit}"
        issues = await self._ask(permit, Method.GET, path, list[_Issue])
        return _answer(
            [
                {
                    "number": issue.number,
                    "title": issue.title,
                    "state": issue.state,
                    "by": issue.user.login if issue.user else None,
                    "body": (issue.body or "")[:2000],
                }
                for issue in issues[: args.limit]
            ]
        )

    async def read_repos(self, permit: Permit, args: ReadRepos) -> ToolAnswer:
        """The repositories as one JSON list."""
        whose = "/user/repos" if args.owner is None else f"/users/{args.owner}/repos"
        repositories = await self._ask(permit, Method.GET, f"{whose}?per_page={args.limit}", list[_Repository])
        return _answer([msgspec.to_builtins(repository) for repository in repositories[: args.limit]])

    async def write_comment(self, permit: Permit, args: WriteComment) -> ToolAnswer:
        """Says that the comment was written."""
        path = f"/repos/{args.repository}/issues/{args.issue}/comments"
        comment = await self._ask(permit, Method.POST, path, _Comment, body={"body": args.text})
        return _answer({"written": True, "id": comment.id})

    async def _ask(
        self, permit: Permit, method: Method, path: str, answer_type: type[Answer], body: Any = None
    ) -> Answer:
        call = HttpCall(
            method=method.value,
            url=await self._base_url(method) + path,
            headers={"Accept": "application/vnd.github+json"},
            body=body,
            inject_credential=SERVICE,
            timeout=_SECONDS,
            run_id=permit.run_id,
            agent=permit.agent,
            purpose=permit.tool,
        )
        answer = await permit.wait(lambda approval: self.http(msgspec.structs.replace(call, approval=approval)))
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            raise Refusal(
                ProblemCode.UPSTREAM_INVALID,
                f"GitHub answered with status {answer.status}",
                "Check the names, and what the stored token may do.",
            )
        try:
            return msgspec.json.decode(answer.body or "", type=answer_type)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise Refusal(
                ProblemCode.UPSTREAM_INVALID,
                "GitHub's answer is not of the expected form",
                "Check which host the credential is bound to.",
            ) from None

    async def _base_url(self, method: Method) -> str:
        """Where the stored credential may go with this method, from its own binding."""
        stored = [summary for summary in await self.credentials() if summary.service == SERVICE]
        if not stored:
            raise Refusal(
                ProblemCode.CREDENTIAL_UNKNOWN,
                f"No credential is stored for {SERVICE}",
                "Store one: mycelos credential add github --template github",
            )
        for form in stored[0].bindings:
            binding = msgspec.convert(form, type=Binding)
            if method in binding.methods:
                port = "" if binding.port == _DEFAULT_PORTS[binding.scheme] else f":{binding.port}"
                prefix = "".join(f"/{segment}" for segment in binding.path)
                return f"{binding.scheme}://{binding.host}{port}{prefix}"
        raise Refusal(
            ProblemCode.BINDING_VIOLATION,
            f"The credential for {SERVICE} is bound to no place that takes {method.value}",
            "A person can widen it: mycelos credential bind github",
        )


def _answer(value: Any) -> ToolAnswer:
    return ToolAnswer(msgspec.json.encode(value).decode(), _LABELS)
