"""Bindings for well-known services, as data. They name what may be called and so leave out the rest.

An endpoint that hands out or registers credentials (tokens, keys, runners, web hooks) is in no template: a bound
secret must not be turned into another one that no binding holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mycelos.wire.binding import Bearer, Binding, Header, Injection, Method, ResponseRule, UrlPath

_READ: Final = (Method.GET, Method.HEAD)


@dataclass(frozen=True)
class Template:
    """What a template is called, what it leaves out (in words), and the bindings that it makes."""

    name: str
    title: str
    leaves_out: str
    bindings: tuple[Binding, ...]


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
        "Every write, and with it deploy keys, runners and web hooks. Bind single write paths as you need them.",
        _bind(
            "api.github.com",
            _READ,
            ("repos", "search", "issues", "user", "users", "orgs", "notifications", "rate_limit"),
            _BEARER,
        ),
    ),
    Template(
        "gitlab",
        "GitLab.com, reading",
        "Every write, and with it access tokens, deploy keys, runners and triggers.",
        _bind(
            "gitlab.com",
            _READ,
            ("api/v4/projects", "api/v4/groups", "api/v4/issues", "api/v4/merge_requests", "api/v4/user"),
            Header(name="PRIVATE-TOKEN"),
        ),
    ),
    Template(
        "openai",
        "OpenAI, models",
        "Files, administration keys, and realtime sessions, which hand out tokens for browsers.",
        _bind(
            "api.openai.com",
            (Method.POST,),
            ("v1/chat/completions", "v1/responses", "v1/embeddings", "v1/moderations"),
            _BEARER,
        )
        + _bind("api.openai.com", (Method.GET,), ("v1/models",), _BEARER),
    ),
    Template(
        "anthropic",
        "Anthropic, models",
        "Files and the administration of organisations and keys.",
        _bind("api.anthropic.com", (Method.POST,), ("v1/messages",), Header(name="x-api-key"))
        + _bind("api.anthropic.com", (Method.GET,), ("v1/models",), Header(name="x-api-key")),
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
    ),
    Template(
        "mistral",
        "Mistral, models",
        "Files, fine-tuning and agents.",
        _bind("api.mistral.ai", (Method.POST,), ("v1/chat/completions", "v1/embeddings"), _BEARER)
        + _bind("api.mistral.ai", (Method.GET,), ("v1/models",), _BEARER),
    ),
    Template(
        "openrouter",
        "OpenRouter, models",
        "The endpoints that make, list and change keys.",
        _bind("openrouter.ai", (Method.POST,), ("api/v1/chat/completions", "api/v1/completions"), _BEARER)
        + _bind("openrouter.ai", (Method.GET,), ("api/v1/models",), _BEARER),
    ),
    Template(
        "telegram",
        "Telegram, a bot",
        "Web hooks (they would send messages elsewhere), logOut and close.",
        _bind(
            "api.telegram.org",
            (Method.GET, Method.POST),
            tuple(f"bot{{credential}}/{call}" for call in _TELEGRAM_CALLS),
            UrlPath(),
        )
        + _bind("api.telegram.org", (Method.GET,), ("file/bot{credential}",), UrlPath()),
    ),
    Template(
        "brave-search",
        "Brave, web search",
        "Everything but searching.",
        _bind("api.search.brave.com", (Method.GET,), ("res/v1",), Header(name="X-Subscription-Token")),
    ),
)

TEMPLATES: Final = {template.name: template for template in _ALL}
"""Every template by its name."""
