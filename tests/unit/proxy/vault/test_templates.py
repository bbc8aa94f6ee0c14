from dataclasses import replace

import msgspec
import pytest

from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire.binding import Method, UrlPath
from mycelos.wire.operator import BINDINGS_LIMIT, check_service

MINTING = {
    "github": [
        ("POST", "repos/o/r/keys"),
        ("POST", "user/keys"),
        ("POST", "user/gpg_keys"),
        ("POST", "app/installations/1/access_tokens"),
        ("POST", "app-manifests/x/conversions"),
        ("POST", "applications/1/token"),
        ("PATCH", "applications/1/token"),
        ("POST", "authorizations"),
        ("GET", "authorizations"),
        ("POST", "login/oauth/access_token"),
        ("POST", "repos/o/r/actions/runners/registration-token"),
        ("POST", "repos/o/r/actions/runners/generate-jitconfig"),
        ("POST", "orgs/o/actions/runners/registration-token"),
        ("POST", "enterprises/e/actions/runners/registration-token"),
        ("POST", "repos/o/r/hooks"),
        ("PUT", "repos/o/r/actions/secrets/x"),
        ("PUT", "user/codespaces/secrets/x"),
        ("GET", "orgs/o/hooks"),
        ("GET", "orgs/o/personal-access-tokens"),
        ("GET", "orgs/o/credential-authorizations"),
        ("GET", "enterprises/e/actions/runners"),
    ],
    "gitlab": [
        ("POST", "api/v4/user/personal_access_tokens"),
        ("POST", "api/v4/user/runners"),
        ("POST", "api/v4/user/keys"),
        ("POST", "api/v4/projects/1/access_tokens"),
        ("POST", "api/v4/projects/1/deploy_keys"),
        ("POST", "api/v4/projects/1/deploy_tokens"),
        ("POST", "api/v4/projects/1/runners/reset_registration_token"),
        ("GET", "api/v4/projects/1"),
        ("GET", "api/v4/projects/1/triggers"),
        ("GET", "api/v4/projects/1/variables"),
        ("GET", "api/v4/projects/1/access_tokens"),
        ("GET", "api/v4/projects/1/deploy_tokens"),
        ("GET", "api/v4/projects/1/hooks"),
        ("GET", "api/v4/groups/1"),
        ("GET", "api/v4/groups/1/variables"),
        ("GET", "api/v4/groups/1/access_tokens"),
        ("GET", "api/v4/personal_access_tokens"),
        ("POST", "api/v4/personal_access_tokens/self/rotate"),
        ("GET", "api/v4/deploy_tokens"),
        ("GET", "api/v4/applications"),
        ("POST", "oauth/token"),
    ],
    "openai": [
        ("POST", "v1/realtime/sessions"),
        ("POST", "v1/realtime/client_secrets"),
        ("POST", "v1/realtime/transcription_sessions"),
        ("POST", "v1/chatkit/sessions"),
        ("POST", "v1/organization/admin_api_keys"),
        ("GET", "v1/organization/admin_api_keys"),
        ("GET", "v1/organization/projects/p/api_keys"),
        ("POST", "v1/organization/projects/p/service_accounts"),
        ("POST", "v1/organization/invites"),
        ("GET", "v1/files"),
        ("POST", "v1/batches"),
        ("DELETE", "v1/models/m"),
    ],
    "anthropic": [
        ("GET", "v1/organizations/api_keys"),
        ("POST", "v1/organizations/api_keys/x"),
        ("POST", "v1/organizations/invites"),
        ("GET", "v1/organizations/workspaces"),
        ("GET", "v1/files"),
        ("GET", "v1/messages/batches"),
        ("GET", "v1/messages/batches/b/results"),
        ("DELETE", "v1/messages/batches/b"),
        ("POST", "v1/models"),
    ],
    "gemini": [
        ("POST", "v1alpha/auth_tokens"),
        ("POST", "v1beta/auth_tokens"),
        ("POST", "v1beta/authTokens"),
        ("POST", "v1beta/ephemeralTokens"),
        ("POST", "upload/v1beta/files"),
        ("POST", "v1beta/tunedModels"),
        ("POST", "v1beta/cachedContents"),
        ("POST", "v1beta/tunedModels/m/permissions"),
        ("PATCH", "v1beta/models/m"),
    ],
    "mistral": [
        ("POST", "v1/files"),
        ("GET", "v1/files/f/url"),
        ("POST", "v1/agents"),
        ("POST", "v1/workspaces/w/api_keys"),
        ("GET", "v1/api_keys"),
        ("DELETE", "v1/models/m"),
    ],
    "openrouter": [
        ("POST", "api/v1/keys"),
        ("GET", "api/v1/keys"),
        ("GET", "api/v1/key"),
        ("PATCH", "api/v1/keys/h"),
        ("POST", "api/v1/auth/keys"),
        ("POST", "api/v1/auth/keys/code"),
        ("GET", "api/v1/credits"),
        ("POST", "api/v1/credits/coinbase"),
    ],
    "telegram": [
        ("POST", "bot{credential}/setWebhook"),
        ("POST", "bot{credential}/SETWEBHOOK"),
        ("GET", "bot{credential}/getWebhookInfo"),
        ("POST", "bot{credential}/deleteWebhook"),
        ("POST", "bot{credential}/logOut"),
        ("POST", "bot{credential}/close"),
        ("POST", "bot{credential}/createChatInviteLink"),
        ("POST", "bot{credential}/exportChatInviteLink"),
        ("POST", "bot{credential}/createInvoiceLink"),
        ("POST", "bot{credential}/getManagedBotToken"),
        ("POST", "bot{credential}/replaceManagedBotToken"),
        ("POST", "file/bot{credential}/x"),
    ],
    "brave-search": [("POST", "res/v1/web/search"), ("GET", "app/keys"), ("GET", "v1/api-keys")],
}
"""By each service's documented interface: what makes, lists or shows a token or key, or sends data elsewhere."""

SHOWN_BY_NAME = [
    "repos/o/r/keys",
    "repos/o/r/hooks",
    "repos/o/r/actions/secrets",
    "repos/o/r/actions/runners",
    "user/keys",
]
"""A prefix of whole segments cannot leave them out; GitHub shows public keys and names there, and no value."""


def allows(name: str, method: str, path: str) -> bool:
    segments = tuple(path.split("/"))
    return any(
        Method(method) in binding.methods and segments[: len(binding.path)] == binding.path
        for binding in TEMPLATES[name].bindings
    )


def test_every_template_has_its_forbidden_calls_listed_here() -> None:
    assert set(MINTING) == set(TEMPLATES)


@pytest.mark.parametrize(("name", "method", "path"), [(n, *call) for n, calls in MINTING.items() for call in calls])
def test_no_template_allows_a_call_that_makes_or_shows_credentials(name: str, method: str, path: str) -> None:
    assert not allows(name, method, path)


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [
        ("github", "GET", "repos/o/r/issues"),
        ("openai", "POST", "v1/chat/completions"),
        ("anthropic", "POST", "v1/messages"),
        ("telegram", "POST", "bot{credential}/sendMessage"),
        ("brave-search", "GET", "res/v1/web/search"),
    ],
)
def test_a_template_allows_what_it_is_for(name: str, method: str, path: str) -> None:
    assert allows(name, method, path)


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"openrouter"}))
def test_what_a_template_is_tested_with_lies_in_its_own_bindings(name: str) -> None:
    check = TEMPLATES[name].check
    assert check is not None
    assert allows(name, "GET", "/".join(check.segments))


def test_templates_have_names_that_a_service_may_have_and_go_out_encrypted() -> None:
    for name, template in TEMPLATES.items():
        check_service(name)
        assert template.name == name
        assert template.leaves_out
        assert 1 <= len(template.bindings) <= BINDINGS_LIMIT
        assert len(set(template.bindings)) == len(template.bindings)
        for binding in template.bindings:
            assert (binding.scheme, binding.port) == ("https", 443)
            assert binding.path, "a template never opens a whole host"
            assert isinstance(binding.inject, UrlPath) == any("{credential}" in part for part in binding.path)


def test_what_a_prefix_cannot_leave_out_is_readable_only_and_said() -> None:
    for path in SHOWN_BY_NAME:
        assert allows("github", "GET", path)
        assert not any(allows("github", method, path) for method in ("POST", "PUT", "PATCH", "DELETE"))
    told = TEMPLATES["github"].leaves_out
    assert "public keys" in told
    assert "names of secrets" in told


def test_below_the_messages_of_anthropic_lie_counting_and_batches_and_it_is_said() -> None:
    for path in ("v1/messages", "v1/messages/count_tokens", "v1/messages/batches"):
        assert allows("anthropic", "POST", path)
    assert "batch of messages" in TEMPLATES["anthropic"].leaves_out


def test_with_projects_as_a_whole_gitlab_would_show_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wall taken away: the prefix that would be convenient lets the calls through that are refused above."""
    gitlab = TEMPLATES["gitlab"]
    convenient = msgspec.structs.replace(gitlab.bindings[0], path=("api", "v4", "projects"))
    monkeypatch.setitem(TEMPLATES, "gitlab", replace(gitlab, bindings=(*gitlab.bindings, convenient)))
    assert allows("gitlab", "GET", "api/v4/projects/1/triggers")


def test_only_templates_of_reading_or_of_models_and_bots_change_anything() -> None:
    writing = {name for name, one in TEMPLATES.items() for each in one.bindings if set(each.methods) - {"GET", "HEAD"}}
    assert writing == {"openai", "anthropic", "gemini", "mistral", "openrouter", "telegram"}
    methods = {method for one in TEMPLATES.values() for each in one.bindings for method in each.methods}
    assert methods <= {Method.GET, Method.HEAD, Method.POST}
