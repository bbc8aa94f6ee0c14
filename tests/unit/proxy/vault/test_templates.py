import pytest

from mycelos.proxy.vault.templates import TEMPLATES
from mycelos.wire.binding import Method, UrlPath
from mycelos.wire.operator import BINDINGS_LIMIT, check_service

MINTING = {
    "github": [
        ("POST", "repos/o/r/keys"),
        ("POST", "user/keys"),
        ("POST", "app/installations/1/access_tokens"),
        ("POST", "applications/1/token"),
        ("POST", "repos/o/r/actions/runners/registration-token"),
        ("POST", "repos/o/r/hooks"),
        ("PUT", "repos/o/r/actions/secrets/x"),
    ],
    "gitlab": [
        ("POST", "api/v4/user/personal_access_tokens"),
        ("POST", "api/v4/projects/1/access_tokens"),
        ("POST", "api/v4/projects/1/deploy_keys"),
    ],
    "openai": [
        ("POST", "v1/realtime/sessions"),
        ("POST", "v1/realtime/client_secrets"),
        ("POST", "v1/organization/admin_api_keys"),
        ("GET", "v1/organization/admin_api_keys"),
        ("GET", "v1/files"),
    ],
    "anthropic": [("GET", "v1/organizations/api_keys"), ("POST", "v1/organizations/api_keys/x"), ("GET", "v1/files")],
    "gemini": [("POST", "v1alpha/auth_tokens"), ("POST", "v1beta/auth_tokens"), ("POST", "upload/v1beta/files")],
    "mistral": [("POST", "v1/files"), ("POST", "v1/agents")],
    "openrouter": [("POST", "api/v1/keys"), ("GET", "api/v1/keys"), ("POST", "api/v1/auth/keys")],
    "telegram": [("POST", "bot{credential}/setWebhook"), ("POST", "bot{credential}/logOut")],
    "brave-search": [("POST", "res/v1/web/search")],
}


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
