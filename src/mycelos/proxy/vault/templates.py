"""Bindings for well-known services, as data. They name what may be called and so leave out the rest.

An endpoint that hands out or registers credentials (tokens, keys, runners, web hooks) is in no template: a bound
secret must not be turned into another one that no binding holds. A path is a prefix of whole segments, so that what
stands behind a name of somebody's (`repos/OWNER/NAME/...`) is in whole or not at all; where that shows a credential's
value, as below a project of GitLab, it is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mycelos.wire.binding import Bearer, Binding, Header, Injection, Method, ResponseRule, UrlPath

_READ: Final = (Method.GET, Method.HEAD)


@dataclass(frozen=True)
class Check:
    """A request that changes nothing and that the service answers to a good key alone: a GET of ``path``."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def segments(self) -> tuple[str, ...]:
        """The path without its query, in segments."""
        return tuple(self.path.partition("?")[0].strip("/").split("/"))


@dataclass(frozen=True)
class Template:
    """What a template is called, what it leaves out (in words), the bindings that it makes, and how it is tested."""

    name: str
    title: str
    leaves_out: str
    bindings: tuple[Binding, ...]
    check: Check | None = None


def _bind(host: str, methods: tuple[Method, ...], paths: tuple[str, ...], inject: Injection) -> tuple[Binding, ...]:
    return tuple(
        Binding(
            v=1,
            scheme="https",
            host=host,
            port=443,
            methods=methods,
            path=tuple(path.split("/")),
            query="any" if Method.GET in methods else "none",
            inject=inject,
            response=ResponseRule(set_cookie="drop", location_query="redact"),
            confirm=False,
            quota=None,
        )
        for path in paths
    )


_BEARER: Final = Bearer()
_TELEGRAM_CALLS: Final = (
    "getMe", "getUpdates", "getFile", "getChat", "sendMessage", "sendPhoto", "sendDocument", "sendChatAction",
    "editMessageText", "editMessageReplyMarkup", "deleteMessage", "answerCallbackQuery", "setMyCommands",
)  # fmt: skip

_ALL: Final = (
    Template(
        "github",
        "GitHub, reading",
        "Every write, and with it deploy keys, runners and web hooks; organisations. Below a repository it can read "
        "the public keys, the names of secrets and, with a token that administers it, the addresses of web hooks: use "
        "a token that may only read. Bind single write paths as you need them.",
        _bind(
            "api.github.com",
            _READ,
            ("repos", "search", "issues", "user", "users", "notifications", "rate_limit"),
            _BEARER,
        ),
        Check("/user"),
    ),
    Template(
        "gitlab",
        "GitLab.com, reading",
        "Every write, and projects and groups as a whole: GitLab shows the tokens of triggers and runners and the "
        "values of variables below them. Bind paths of one project as you need them: api/v4/projects/ID/repository.",
        _bind(
            "gitlab.com",
            _READ,
            ("api/v4/issues", "api/v4/merge_requests", "api/v4/search", "api/v4/todos", "api/v4/events", "api/v4/user"),
            Header(name="PRIVATE-TOKEN"),
        ),
        Check("/api/v4/user"),
    ),
    Template(
        "openai",
        "OpenAI, models",
        "Files, batches, administration keys, and realtime and chat sessions, which hand out tokens for browsers.",
        _bind(
            "api.openai.com",
            (Method.POST,),
            ("v1/chat/completions", "v1/responses", "v1/embeddings", "v1/moderations"),
            _BEARER,
        )
        + _bind("api.openai.com", (Method.GET,), ("v1/models",), _BEARER),
        Check("/v1/models"),
    ),
    Template(
        "anthropic",
        "Anthropic, models",
        "Files and the administration of organisations and keys. What lies below v1/messages is in: counting tokens, "
        "and beginning a batch of messages, whose results it cannot read.",
        _bind("api.anthropic.com", (Method.POST,), ("v1/messages",), Header(name="x-api-key"))
        + _bind("api.anthropic.com", (Method.GET,), ("v1/models",), Header(name="x-api-key")),
        Check("/v1/models", ((b"anthropic-version", b"2023-06-01"),)),
    ),
    Template(
        "gemini",
        "Google Gemini, models",
        "Files, tuned models, cached content and tokens for browsers.",
        _bind(
            "generativelanguage.googleapis.com",
            (Method.GET, Method.POST),
            ("v1beta/models", "v1/models"),
            Header(name="x-goog-api-key"),
        ),
        Check("/v1beta/models"),
    ),
    Template(
        "mistral",
        "Mistral, models",
        "Files, fine-tuning and agents.",
        _bind("api.mistral.ai", (Method.POST,), ("v1/chat/completions", "v1/embeddings"), _BEARER)
        + _bind("api.mistral.ai", (Method.GET,), ("v1/models",), _BEARER),
        Check("/v1/models"),
    ),
    Template(
        "openrouter",
        "OpenRouter, models",
        "The endpoints that make, list, show and change keys, and credits.",
        _bind("openrouter.ai", (Method.POST,), ("api/v1/chat/completions", "api/v1/completions"), _BEARER)
        + _bind("openrouter.ai", (Method.GET,), ("api/v1/models",), _BEARER),
        # Its list of models is for everybody, and what answers to a key alone is left out: nothing here would show one.
    ),
    Template(
        "telegram",
        "Telegram, a bot",
        "Web hooks (they would send messages elsewhere), logOut, close, links of invitation and of payment, and the "
        "tokens of managed bots.",
        _bind(
            "api.telegram.org",
            (Method.GET, Method.POST),
            tuple(f"bot{{credential}}/{call}" for call in _TELEGRAM_CALLS),
            UrlPath(),
        )
        + _bind("api.telegram.org", (Method.GET,), ("file/bot{credential}",), UrlPath()),
        Check("/bot{credential}/getMe"),
    ),
    Template(
        "brave-search",
        "Brave, web search",
        "Everything but searching.",
        _bind("api.search.brave.com", (Method.GET,), ("res/v1",), Header(name="X-Subscription-Token")),
        Check("/res/v1/web/search?q=mycelos&count=1"),
    ),
)

TEMPLATES: Final = {template.name: template for template in _ALL}
"""Every template by its name."""
