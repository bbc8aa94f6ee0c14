import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import uvicorn

from mycelos.configuration.layout import DataLayout
from mycelos.operator.app import VaultPage
from mycelos.operator.browser_rules import allowed_origins
from mycelos.operator.client import OperatorClient
from mycelos.operator.sessions import Sessions
from mycelos.wire.operator import AddRule, SetWeb, StoreCredential

SECRET = "canary-page-50aa1"
WAIT = 30.0


class Page:
    """The vault page on a real port, with a browser's habits: own Origin on every form."""

    def __init__(self, layout: DataLayout, listener: Any, public_url: str | None = None) -> None:
        self.base = f"http://localhost:{listener.getsockname()[1]}"
        sessions = Sessions()
        page = VaultPage(OperatorClient(layout), sessions, is_https=bool(public_url))
        app = page.app(allowed_origins(listener.getsockname()[1], public_url))
        config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False, ws="none", loop="asyncio")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, args=([listener],))
        self.browser = self.new_browser()

    def new_browser(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.base, timeout=WAIT, trust_env=False)

    def post(self, path: str, fields: dict[str, Any], browser: httpx2.Client | None = None, **headers: str) -> Any:
        sent = {"Origin": self.base, "Sec-Fetch-Site": "same-origin", **headers}
        return (browser or self.browser).post(path, data=fields, headers=sent)

    def form_token(self, path: str = "/") -> str:
        found = re.search(r'name="form_token" value="([^"]+)"', self.browser.get(path).text)
        assert found
        return found[1]

    def submit(self, path: str, **fields: Any) -> Any:
        return self.post(path, {"form_token": self.form_token(), **fields})


def start(page: Page) -> Iterator[Page]:
    page.thread.start()
    waiting = threading.Event()
    for _ in range(2000):
        if page.server.started:
            break
        waiting.wait(0.005)
    assert page.server.started
    yield page
    page.browser.close()
    page.server.should_exit = True
    page.thread.join(WAIT)


@pytest.fixture
def listener() -> Iterator[Any]:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


@pytest.fixture
def page(operator_system: Any, listener: Any) -> Iterator[Page]:
    yield from start(Page(operator_system.layout, listener))


@pytest.fixture
def signed_in(operator_system: Any, page: Page) -> Page:
    answer = page.post("/login", {"code": operator_system.client.create_link().code})
    assert answer.status_code == 303
    return page


def text(answer: Any) -> str:
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def new_fields(**changes: Any) -> dict[str, Any]:
    fields = {"service": "example", "label": "", "secret": SECRET, "template": "", "host": "api.example.com",
              "path_prefix": "", "methods": ["GET"], "inject": "bearer", "inject_name": ""}  # fmt: skip
    return {**fields, **changes}


PAGES = ["/", "/credentials/new", "/credentials/example/rotate", "/credentials/example/delete", "/rules"]
FORMS = ["/credentials/new", "/credentials/example/rotate", "/credentials/example/delete", "/logout"]


@pytest.mark.parametrize("path", PAGES)
def test_without_a_session_every_page_leads_to_the_sign_in(page: Page, path: str) -> None:
    answer = page.browser.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", FORMS)
def test_without_a_session_every_form_is_refused(page: Page, operator_system: Any, path: str) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x", template="github"))
    answer = page.post(path, {"secret": "y", "form_token": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert [found.version for found in operator_system.client.credentials().credentials] == [1]


def test_opening_the_link_does_not_use_it_up_and_its_button_does(page: Page, operator_system: Any) -> None:
    code = operator_system.client.create_link().code
    for _ in range(3):
        shown = page.browser.get("/login", params={"code": code})
        assert (shown.status_code, "set-cookie" in shown.headers) == (200, False)
        assert f'value="{code}"' in shown.text
    signed = page.post("/login", {"code": code})
    assert (signed.status_code, signed.headers["location"]) == (303, "/")
    assert page.browser.get("/").status_code == 200
    with page.new_browser() as other:
        again = page.post("/login", {"code": code}, other)
        assert again.status_code == 403
        assert "was used already" in text(again)
        assert other.get("/").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(page: Page, operator_system: Any) -> None:
    answer = page.post("/login", {"code": operator_system.client.create_link().code})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("mycelos_operator=")
    for part in ("HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"):
        assert part in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie


def test_behind_https_the_cookie_is_bound_to_the_host(operator_system: Any, listener: Any) -> None:
    for page in start(Page(operator_system.layout, listener, "https://vault.example")):
        answer = page.post("/login", {"code": operator_system.client.create_link().code}, Host="vault.example",
                           Origin="https://vault.example")  # fmt: skip
        assert answer.headers["set-cookie"].startswith("__Host-mycelos_operator=")
        assert "Secure" in answer.headers["set-cookie"]


def test_a_planted_session_does_not_become_the_persons(page: Page, operator_system: Any) -> None:
    page.browser.cookies.set("mycelos_operator", "planted")
    page.post("/login", {"code": operator_system.client.create_link().code})
    with page.new_browser() as attacker:
        attacker.cookies.set("mycelos_operator", "planted")
        assert attacker.get("/").status_code == 303


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://attacker.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:9100", "Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_with_a_stolen_cookie_another_origin_changes_nothing(
    signed_in: Page, operator_system: Any, path: str, headers: dict[str, str]
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x", template="github"))
    answer = signed_in.post(path, {"form_token": signed_in.form_token(), "secret": "y"}, **headers)
    assert answer.status_code == 403
    assert [found.version for found in operator_system.client.credentials().credentials] == [1]
    assert signed_in.browser.get("/").status_code == 200


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", ["", "guessed", None])
def test_a_form_without_this_sessions_token_changes_nothing(
    signed_in: Page, operator_system: Any, path: str, token: str | None
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x", template="github"))
    fields = {"service": "other", "secret": "y"} if path == "/credentials/new" else {}
    if path.endswith("rotate"):
        fields = {"secret": "y"}
    if token is not None:
        fields["form_token"] = token
    assert signed_in.post(path, fields).status_code in {400, 403, 415}
    assert [found.version for found in operator_system.client.credentials().credentials] == [1]
    assert signed_in.browser.get("/").status_code == 200


def test_without_the_form_token_check_a_forged_form_would_delete(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator_system.client.store(StoreCredential(service="example", secret="x", template="github"))
    monkeypatch.setattr("mycelos.operator.app._demand_own_form", lambda *_: None)
    signed_in.post("/credentials/example/delete", {"form_token": "forged"})
    assert operator_system.client.credentials().credentials == ()


def test_the_empty_page_says_how_to_begin(signed_in: Page) -> None:
    shown = text(signed_in.browser.get("/"))
    assert "No credential is stored yet." in shown
    assert "Add a credential" in shown


def test_a_credential_from_a_template_is_stored_and_shown_in_plain_words(signed_in: Page, operator_system: Any) -> None:
    answer = signed_in.submit("/credentials/new", **new_fields(service="github", template="github", label="mine"))
    assert answer.status_code == 303
    shown = signed_in.browser.get(answer.headers["location"])
    assert "The credential github was stored." in text(shown)
    assert "GET and HEAD on https://api.github.com/repos and below it, sent as a bearer token." in text(shown)
    assert SECRET not in shown.text
    assert operator_system.events("credential.stored")[-1]["outcome"] == "ok"


def test_a_credential_for_a_host_is_stored_as_it_was_written(signed_in: Page, operator_system: Any) -> None:
    answer = signed_in.submit(
        "/credentials/new",
        **new_fields(host="a.example b.example:8443", path_prefix="/v1/items", methods=["GET", "POST"],
                     inject="header", inject_name="X-Key", confirm="yes"),
    )  # fmt: skip
    assert answer.status_code == 303
    (stored,) = operator_system.client.credentials().credentials
    assert [(b.host, b.port, b.path, b.confirm) for b in stored.bindings] == [
        ("a.example", 443, ("v1", "items"), True), ("b.example", 8443, ("v1", "items"), True),
    ]  # fmt: skip
    with operator_system.vault.open_secret(operator_system.vault.find("example")) as secret:
        assert secret.matches(SECRET.encode())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"service": "Not A Name"}, "service"),
        ({"label": "x" * 129}, "label"),
        ({"secret": ""}, "secret"),
        ({"secret": f" {SECRET}"}, "secret"),
        ({"secret": f"{SECRET}\n{SECRET}"}, "secret"),
        ({"host": ""}, "host"),
        ({"host": "*.example.com"}, "host"),
        ({"path_prefix": "/a/../b"}, "path_prefix"),
        ({"methods": ["FETCH"]}, "methods"),
        ({"inject": "header", "inject_name": "Host"}, "inject_as"),
        ({"inject": "cookie"}, "inject_as"),
        ({"template": "none-such"}, "template"),
    ],
)
def test_an_error_names_its_field_and_keeps_what_was_typed_but_the_secret(
    signed_in: Page, operator_system: Any, changes: dict[str, Any], field: str
) -> None:
    answer = signed_in.submit("/credentials/new", **(new_fields(label="typed before") | changes))
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'href="#{field}"' in answer.text
    assert SECRET not in answer.text
    if "label" not in changes:
        assert 'value="typed before"' in answer.text
    assert operator_system.client.credentials().credentials == ()


def test_a_name_that_exists_is_a_conflict_shown_at_its_field(signed_in: Page) -> None:
    assert signed_in.submit("/credentials/new", **new_fields()).status_code == 303
    again = signed_in.submit("/credentials/new", **new_fields())
    assert again.status_code == 409
    assert "There is already a credential example." in text(again)


def test_markup_in_a_label_is_text(signed_in: Page) -> None:
    signed_in.submit("/credentials/new", **new_fields(label="<script>alert(1)</script>"))
    shown = signed_in.browser.get("/")
    assert "<script" not in shown.text
    assert "<script>alert(1)</script>" in text(shown)


def test_a_secret_is_replaced_and_deleted_after_a_question(signed_in: Page, operator_system: Any) -> None:
    signed_in.submit("/credentials/new", **new_fields())
    wrong = signed_in.submit("/credentials/example/rotate", secret=" x")
    assert wrong.status_code == 400
    assert "begins or ends with a space" in text(wrong)
    assert signed_in.submit("/credentials/example/rotate", secret="replaced-1").status_code == 303
    with operator_system.vault.open_secret(operator_system.vault.find("example")) as secret:
        assert secret.matches(b"replaced-1")
    asked = signed_in.browser.get("/credentials/example/delete")
    assert "Delete example?" in text(asked)
    assert len(operator_system.client.credentials().credentials) == 1
    assert signed_in.submit("/credentials/example/delete").status_code == 303
    assert operator_system.client.credentials().credentials == ()


def test_egress_rules_are_listed(signed_in: Page, operator_system: Any) -> None:
    assert "There is no rule" in text(signed_in.browser.get("/rules"))
    operator_system.client.egress_rules(AddRule(method="GET", scheme="https", host="a.example", port=443))
    operator_system.client.egress_rules(SetWeb(enabled=True))
    shown = text(signed_in.browser.get("/rules"))
    assert "https://a.example" in shown
    assert "every public host" in shown


def test_after_signing_out_the_cookie_is_worth_nothing(signed_in: Page, operator_system: Any) -> None:
    cookie = signed_in.browser.cookies["mycelos_operator"]
    assert signed_in.submit("/logout").status_code == 303
    with signed_in.new_browser() as thief:
        thief.cookies.set("mycelos_operator", cookie)
        assert thief.get("/").status_code == 303
    assert len(operator_system.events("operator.logout")) == 1


def test_what_is_not_there_or_no_form_is_refused_without_a_change(signed_in: Page) -> None:
    assert signed_in.browser.get("/nowhere").status_code == 404
    assert signed_in.browser.get("/credentials/none/rotate").status_code == 404
    token = signed_in.form_token()
    sent = {"Origin": signed_in.base, "Content-Type": "application/x-www-form-urlencoded"}
    for body in (b"form_token=a&form_token=b", b"unknown=1", b"%ff=%ff", b"\xff", b"a" * 300_000,
                 f"form_token={token}&service=a&service=b".encode()):  # fmt: skip
        answer = signed_in.browser.post("/credentials/new", content=body, headers=sent)
        assert answer.status_code in {400, 403, 413}
    answer = signed_in.browser.post("/credentials/new", json={}, headers={"Origin": signed_in.base})
    assert answer.status_code == 415


def test_the_page_says_when_the_proxy_does_not_answer(
    signed_in: Page, operator_system: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator_system.layout.operator_socket.rename(operator_system.layout.operator_socket.with_suffix(".gone"))
    answer = signed_in.browser.get("/")
    assert answer.status_code == 503
    assert "mycelos serve" in text(answer)


@pytest.mark.parametrize("path", ["/", "/credentials/new", "/rules", "/login", "/nowhere"])
def test_no_page_has_a_script_or_anything_from_elsewhere(signed_in: Page, path: str) -> None:
    answer = signed_in.browser.get(path)
    assert "<script" not in answer.text.lower()
    assert "javascript:" not in answer.text.lower()
    assert " style=" not in answer.text
    assert not re.findall(r"\son[a-z]+=", answer.text)
    for address in re.findall(r'(?:href|src|action)="([^"]*)"', answer.text):
        assert urlsplit(address).netloc == ""
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_style_is_served_and_every_field_has_a_label(signed_in: Page) -> None:
    style = signed_in.browser.get("/operator.css")
    assert style.headers["content-type"].startswith("text/css")
    page = signed_in.browser.get("/credentials/new").text
    fields = set(re.findall(r'<(?:input|select) id="([^"]+)"', page))
    assert fields
    assert fields <= set(re.findall(r'<label for="([^"]+)"', page))
    assert signed_in.browser.get("/healthz").json() == {"status": "ok"}
