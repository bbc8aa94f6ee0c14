"""Secrets go in by every way and out by every way, each layer fails while it holds one; then everything is searched.

The proxy's own memory is not: it is where secrets are used (see tests/integration/test_nothing_keeps_a_secret.py).
"""

from __future__ import annotations

import base64
import json
import os
import resource
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from canary_search import Search, descendants
from echoing_outside import EchoingOutside, echoing_outside
from loud_system import Browser, LoudSystem, make_loud_system
from running_system import wait_until

from mycelos.prove.failing_upstream import FAILURES, Ending

pytestmark = pytest.mark.machine

MARKS = "/+<&'\">%{}"
"""Characters that each way of writing spells in its own way, and that may stand in a header."""
LEAKED = ("leaked-to-memory", "leaked-to-file", "leaked-to-log")


def canary(name: str) -> str:
    return f"CaNaRy-{name}-{secrets.token_urlsafe(18)}{MARKS}"


@pytest.fixture
def folder() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("root is needed to read the memory of others")
    folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    folder.chmod(0o755)
    (folder / "data").mkdir(mode=0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def started(folder: Path, outside: EchoingOutside, patch: str = "") -> Iterator[LoudSystem]:
    system = make_loud_system(folder / "data", patch)
    system.outside = {"all": outside.authority}
    try:
        system.start()
        yield system
    finally:
        system.stop()
        if system.supervisor and system.supervisor.poll() is None:
            system.supervisor.kill()


def plant(system: LoudSystem, folder: Path, outside: EchoingOutside) -> dict[str, str]:
    """Every way in; what was replaced stays a canary, and is given back by nobody."""
    names = ("prompt", "stdin", "file", "page", "rotated", "rotated-page", "nowhere", "not-stored")
    canaries = {name: canary(name) for name in names}
    host = ("--host", f"http://{outside.authority}")
    post = (*host, "--method", "POST", "--host", f"https://{outside.authority}")
    system.at_a_terminal("credential", "add", "bearer", *post, typed=canaries["prompt"])
    system.must("credential", "add", "header", *post, "--inject-as", "header:X-Key", "--stdin", stdin=canaries["stdin"])
    (folder / "secret").write_text(canaries["file"])
    system.must("credential", "add", "github", *host, "--method", "GET", "--from-file", str(folder / "secret"))
    system.must(
        "credential", "add", "unresolved", "--host", "nowhere.invalid", "--method", "POST", "--stdin",
        stdin=canaries["nowhere"],
    )  # fmt: skip
    vault = Browser(system, "--operator")
    binding = {"host": f"http://{outside.authority}", "methods": ["POST"], "inject": "basic", "inject_name": "robot"}
    fields = {"service": "basic", "label": "", "template": "", "path_prefix": "", **binding}
    assert vault.submit("/credentials/new", **fields, secret=canaries["page"]) == 303
    # Also a form that is refused, and one that is another's.
    assert vault.submit("/credentials/new", **fields, secret=canaries["page"]) == 409
    assert vault.submit("/credentials/basic/rotate", secret=canaries["rotated-page"] + "\r\n") == 400
    assert vault.submit("/credentials/basic/rotate", secret=canaries["rotated-page"], form_token="x") == 403
    assert vault.submit("/credentials/basic/rotate", secret=canaries["rotated-page"]) == 303
    system.must("credential", "rotate", "header", "--stdin", stdin=canaries["rotated"])
    for path in ("/", "/rules", "/credentials/basic/rotate"):
        vault.see(path)
    outside.secrets += [canaries[name] for name in ("prompt", "file", "rotated", "rotated-page")]
    return canaries


def furnish(system: LoudSystem, name: str, url: str, credential: str | None) -> None:
    """A model at ``url`` and an agent of its own."""
    system.api(
        "POST", "/api/models",
        {"name": name, "format": "openai", "base_url": url, "model": "echo", "credential": credential},
    )  # fmt: skip
    system.api("POST", "/api/agents", {"name": name, "model": name, "capabilities": ["github.read"]})


def use(system: LoudSystem, outside: EchoingOutside) -> None:
    """Every way out that an agent has, with everything echoed, and every way to fail."""
    at = f"http://{outside.authority}"
    for form in ("bearer", "header", "basic"):
        furnish(system, form, f"{at}/v1", form)
        events = system.ask("what are the open issues?", form)
        assert events[-1]["kind"] == "done", events[-1]
        assert any(event["kind"] == "tool_result" and event["ok"] for event in events)
        assert "[credential removed]" in json.dumps(events)
    for failure in FAILURES:
        # Silence is met below, by a kill: a model is given two minutes to begin.
        if failure.ending is not Ending.HOLD:
            furnish(system, f"fails-{failure.name}", f"{at}/{failure.name}/v1", "bearer")
            assert system.ask("hello", f"fails-{failure.name}")[-1]["kind"] == "error"
    furnish(system, "fails-tls", f"https://{outside.authority}/v1", "bearer")
    assert system.ask("hello", "fails-tls")[-1]["kind"] == "error"
    assert outside.greeted_by_tls
    furnish(system, "unresolved", "https://nowhere.invalid/v1", "unresolved")
    assert system.ask("hello", "unresolved")[-1]["kind"] == "error"


def begin_in_silence(system: LoudSystem, outside: EchoingOutside) -> str:
    """A run whose upstream has the secret, and says nothing."""
    before = len(outside.received)
    run = system.begin("hello", "silent")
    wait_until(lambda: len(outside.received) > before, "the request arrives")
    return run


def type_into_a_chat(system: LoudSystem, secret: str) -> None:
    """A stored secret is refused there, however it is spelled."""
    chat = system.api("POST", "/api/chats", {"agent": "bearer"})["id"]
    for text in (secret, f"my key: {base64.b64encode(secret.encode()).decode()}"):
        assert system.attempt("POST", f"/api/chats/{chat}/messages", {"text": text}) == 403


def fill_the_disk(system: LoudSystem, outside: EchoingOutside, typed: str) -> None:
    """Nothing more can be written by the proxy, as on a full disk: while a secret is in use, and while one comes in."""
    proxy = system.pid("proxy")
    assert proxy
    run = begin_in_silence(system, outside)
    before = resource.prlimit(proxy, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert system.attempt("POST", f"/api/runs/{run}/cancel") == 200
    assert system.attempt("POST", "/api/chats", {"agent": "bearer"}) == 503
    refused = system.mycelos("credential", "rotate", "header", "--stdin", stdin=typed)
    assert refused.returncode != 0
    resource.prlimit(proxy, resource.RLIMIT_FSIZE, before)


def kill_in_the_middle(system: LoudSystem, outside: EchoingOutside, name: str) -> None:
    """A process is killed while an upstream has the secret and says nothing."""
    begin_in_silence(system, outside)
    pid = system.pid(name)
    assert pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: system.pid(name) not in {pid, None} and system.is_healthy(), f"the {name} is started again")


def look_at_processes(system: LoudSystem, search: Search) -> dict[str, int]:
    """Every process but the proxy; how many bytes of each were looked through."""
    assert system.supervisor
    pids = {name: system.pid(name) or 0 for name in ("gateway", "operator", "spawner")}
    pids["supervisor"] = system.supervisor.pid
    pids |= {f"runner {number}": pid for number, pid in enumerate(descendants(pids["spawner"]))}
    return {name: search.memory(pid, name) for name, pid in pids.items()}


def look_at_what_was_said(system: LoudSystem, search: Search) -> None:
    for where, what in system.said:
        search.within(what, where)


def test_no_canary_is_anywhere_but_in_the_proxy_and_the_search_finds_what_is_leaked(folder: Path) -> None:
    with echoing_outside() as outside, started(folder, outside) as system:
        canaries = plant(system, folder, outside)
        leaked = {name: canary(name) for name in LEAKED}
        search = Search(canaries | leaked)

        use(system, outside)
        arrived = b"\n".join(received.head for received in outside.received)
        pair = base64.b64encode(f"robot:{canaries['rotated-page']}".encode())
        for was_sent in (canaries["prompt"].encode(), canaries["rotated"].encode(), canaries["file"].encode(), pair):
            assert was_sent in arrived

        typed = canary("typed")
        search.add("typed", typed)
        system.must("credential", "rotate", "unresolved", "--stdin", stdin=typed)
        type_into_a_chat(system, typed)

        # A runner that lives, in a chat that has been answered with an echo.
        furnish(system, "silent", f"http://{outside.authority}/silence/v1", "bearer")
        run = system.begin("hang on", "bearer")
        events = system.follow(run)
        wait_until(lambda: next(events)["kind"] == "token", "the model begins to answer")

        # What is leaked on purpose, once in each kind of place.
        furnish(system, "listener", f"http://{outside.authority}/v1", "bearer")
        system.ask(f"hello \N{SEEDLING} {leaked['leaked-to-memory']}", "listener")
        (system.data / "gateway" / "leak").write_bytes(b"x" + base64.b64encode(leaked["leaked-to-file"].encode()))
        with (system.data / "serve.log").open("a") as log:
            log.write(f"DEBUG some.library: {leaked['leaked-to-log']!r}\n")

        seen = look_at_processes(system, search)
        print("looked through:", seen)
        assert {"gateway", "operator", "spawner", "supervisor", "runner 0"} <= set(seen)
        assert all(seen.values())
        system.api("POST", f"/api/runs/{run}/cancel")

        fill_the_disk(system, outside, canaries["not-stored"])
        for name in ("proxy", "gateway"):
            kill_in_the_middle(system, outside, name)
        page = Browser(system)
        chats = [chat["id"] for chat in system.api("GET", "/api/chats")]
        for path in ("/", "/agents", "/connections", "/audit", "/settings", *(f"/chat/{chat}" for chat in chats)):
            page.see(path)
        for chat in chats:
            system.api("GET", f"/api/chats/{chat}/messages")
        system.audit()
        system.must("db", "audit", "verify")
        look_at_processes(system, search)

    look_at_what_was_said(system, search)
    search.below(system.data)
    for received in outside.received:
        search.within(received.body, "prompt of a model")
    print(f"{len(search.secrets)} canaries, {search.bytes_seen // 2**20} MiB looked through")

    places = search.places(*LEAKED)
    assert any(place.startswith("memory of the gateway") for place in places["leaked-to-memory"])
    assert any(place.startswith("memory of the runner") or "prompt" in place for place in places["leaked-to-memory"])
    assert any(place.startswith("events of a run") or "/messages" in place for place in places["leaked-to-memory"])
    assert any("gateway/leak" in place and "base64" in place for place in places["leaked-to-file"])
    assert any(place.startswith("serve.log") for place in places["leaked-to-log"])

    # Whoever types a stored secret into a chat is refused: the gateway has seen it by then, and nobody keeps it.
    assert {place.partition(" (")[0] for place in search.places("typed")["typed"]} <= {"memory of the gateway"}
    assert search.places(*canaries) == {name: [] for name in canaries}


NOT_FORGOTTEN = """
from mycelos.supervisor import processes
processes._OVERWRITE_WHAT_IS_FREED = {}
IN_EACH = "import gc; gc.collect = lambda: 0\\n"
"""


@pytest.mark.parametrize("patch", ["", NOT_FORGOTTEN], ids=["as it is", "without forgetting"])
def test_the_vault_page_keeps_nothing_that_was_typed_into_it(folder: Path, patch: str) -> None:
    """Also where the form is refused, where its answer raises, and where the browser goes away."""
    with echoing_outside() as outside, started(folder, outside, patch) as system:
        canaries = {f"{number}": canary("typed") for number in range(20)}
        vault = Browser(system, "--operator")
        fields = {
            "service": "typed", "label": "", "template": "", "path_prefix": "", "host": outside.authority,
            "methods": ["GET"], "inject": "bearer", "inject_name": "",
        }  # fmt: skip
        new, rotate = "/credentials/new", "/credentials/typed/rotate"
        assert vault.submit(new, **fields, secret=canaries["0"]) == 303
        for number in range(1, 20, 4):
            assert vault.submit(new, **fields, secret=canaries[f"{number}"]) == 409
            assert vault.submit(rotate, secret=canaries[f"{number + 1}"]) == 303
            assert vault.submit(rotate, secret=f" {canaries[f'{number + 2}']}") == 400
            if number + 3 < 20:
                assert vault.submit(rotate, secret=canaries[f"{number + 3}"], form_token="x") == 403
        search = Search(canaries)
        operator = system.pid("operator")
        assert operator
        search.memory(operator, "operator")
        kept = {name for name, places in search.places(*canaries).items() if places}
        print(f"{len(kept)} of {len(canaries)} are kept")
        # How many stay without it is a matter of what else the page has done since; that some do, is not.
        assert bool(kept) is bool(patch)
