"""For each probe of what keeps a credential where it belongs: its wall is taken away, and the probe sees it."""

from __future__ import annotations

from taken_walls import broken, what_happened

WITH_THE_REQUEST = """
    from mycelos.proxy.egress.http_client import HttpClient

    original_exchange = HttpClient.exchange

    async def exchange(self, connection, url, request, deadlines):
        try:
            await original_exchange(self, connection, url, request, deadlines)
        except Exception as error:
            raise RuntimeError(f"{error} at {request}") from error

    HttpClient.exchange = exchange
"""
"""An error that quotes what was sent, as many a library's does."""


def test_i3_an_error_boundary_that_answers_with_the_error_s_text_is_seen(stopped, proxy_without):
    proxy_without(
        WITH_THE_REQUEST
        + """
    from mycelos.proxy.gateway_door import GatewayDoor
    from mycelos.wire.problems import ProblemCode, Refusal

    original_answer = GatewayDoor._answer

    async def answer(self, scope, receive, send):
        try:
            await original_answer(self, scope, receive, send)
        except Refusal:
            raise
        except Exception as error:
            raise Refusal(ProblemCode.INTERNAL, str(error), "Try again.") from None

    GatewayDoor._answer = answer
    """
    )
    happened = what_happened(stopped, "I3")
    for tried in ("closes without a word", "answers with the request", "sends two lengths"):
        assert (
            "it stands in the answer of /http" in happened[f"have a host that was sent the credential fail: it {tried}"]
        )


def test_i3_a_scrubber_that_passes_error_answers_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.exchange import Exchange

        original = Exchange._scrubbed

        async def scrubbed(self, work, data):
            return data if self.status >= 400 else await original(self, work, data)

        Exchange._scrubbed = scrubbed
    """)
    happened = what_happened(stopped, "I3")
    assert set(happened) == {
        "have a host that was sent the credential fail: it refuses, and says what it was sent",
        "have a host that was sent the credential fail: it breaks down, and says what it was sent",
    }
    assert set(happened.values()) == {"it stands in the answer of /http, it stands in the answer of /forward"}


def test_i3_a_scrubber_that_passes_what_breaks_off_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.exchange import Exchange
        from mycelos.wire.problems import Refusal

        original = Exchange.body

        async def body(self):
            try:
                async for piece in original(self):
                    yield piece
            except Refusal:
                yield self._scrubber._held
                raise

        Exchange.body = body
    """)
    happened = what_happened(stopped, "I3")
    sent = "have a host that was sent the credential fail: it"
    # A reset may overtake what was sent before it.
    always = {f"{sent} ends in its body", f"{sent} breaks off its chunks"}
    assert always <= set(happened) <= always | {f"{sent} resets in its body"}
    assert set(happened.values()) == {"it stands in the answer of /forward"}


def test_i3_a_log_that_holds_tracebacks_is_seen(stopped, proxy_without):
    proxy_without(
        WITH_THE_REQUEST
        + """
    import logging
    from mycelos.proxy import gateway_door

    gateway_door._log = logging.getLogger("another")
    gateway_door._log.error = lambda text, *_: gateway_door._log.critical("failed", exc_info=True)
    """
    )
    assert "find it in the proxy's log, with every logger on" in broken(stopped, "I3")


def test_i3_a_record_that_quotes_the_error_is_seen(stopped, proxy_without):
    proxy_without(
        WITH_THE_REQUEST
        + """
    import sys
    from mycelos.proxy.egress.trail import Progress

    original_end = Progress.end
    Progress.end = lambda self, outcome, reason="": original_end(self, outcome, str(sys.exception() or reason)[:900])
    """
    )
    assert "find it in what is on record of these" in broken(stopped, "I3")


def test_v3_a_proxy_that_keeps_a_credential_after_its_use_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.vault.hazmat import Secret

        original, kept = Secret.reveal, []

        def reveal(self):
            kept.append(original(self))
            return kept[-1]

        Secret.reveal = reveal
    """)
    happened = what_happened(stopped, "V3")
    assert set(happened) == {
        "find it in an object after its use and its echo, with connections kept open",
        "find it in an object after failures with it in hand",
    }
    assert all("a bytes of builtins.list" in text for text in happened.values())


def test_v3_a_proxy_that_opens_a_credential_before_it_is_used_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.vault.store import Vault

        original, ready = Vault.store, {}

        async def store(self, service, label, bindings, secret):
            ready[service] = bytearray(secret.encode())
            return await original(self, service, label, bindings, secret)

        Vault.store = store
    """)
    assert "find it in an object of the proxy that has stored it and not used it" in broken(stopped, "V3")


def test_v3_a_matcher_that_outlives_its_answer_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import scrub

        original, kept = scrub._matcher, []

        def matcher(patterns):
            kept.append(original(patterns))
            return kept[-1]

        scrub._matcher = matcher
    """)
    assert broken(stopped, "V3") == {"find a compiled matcher, which holds it outside of objects"}


def test_v3_a_connection_that_keeps_what_came_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.connection import UpstreamConnection

        UpstreamConnection.let_go = lambda self: None
    """)
    assert "find it in an object after its use and its echo, with connections kept open" in broken(stopped, "V3")


def test_v3_an_error_that_is_kept_with_its_traceback_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.connection import UpstreamConnection

        def raise_fault(self):
            if self._fault is not None:
                raise self._fault

        UpstreamConnection._raise_fault = raise_fault
    """)
    assert broken(stopped, "V3") == {"find it in an object after failures with it in hand"}


ECHO = "echo a credential in 8 families of spellings, by both forms"
ALONE = "echo it in mixed escapes, broken base64 and hex in pairs, each by itself"
PROMPT = "have a model shown everything that came back"
REMEMBERED = "find a credential in what an agent's chats and runs remember of an echo"
LOG = "find a credential in the proxy's log, with every logger on"
TRAIL = "find a credential in the file of the trail, and in what is read of it"
RECORDED = "have a stored secret put on record by the proxy itself"
UNNOTICED = "send a stored secret in plain unnoticed"


def without_spelling(family):
    return f"""
        from mycelos.proxy.egress import scrub
        from mycelos.wire import secret_forms

        scrub.FORMS = secret_forms.FORMS = {{**secret_forms.FORMS, "{family}": lambda secret: []}}
    """


def test_i1_a_scrubber_that_does_not_know_a_spelling_is_seen(stopped, proxy_without):
    proxy_without(without_spelling("hexadecimal"))
    happened = what_happened(stopped, "I1")
    assert happened.pop(ALONE) == "came back as hex in pairs"
    assert happened == dict.fromkeys((ECHO, PROMPT), "found as hexadecimal")


def test_i1_a_scrubber_that_passes_bodies_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.scrub import Scrubber

        Scrubber.feed = lambda self, data: data
    """)
    happened = what_happened(stopped, "I1")
    assert set(happened) == {ECHO, PROMPT, ALONE}
    assert happened[ECHO] == "found as raw, percent, base64, hexadecimal, json, html, python, utf-16"


def test_i2_a_library_that_logs_what_is_sent_is_seen(stopped, proxy_without):
    proxy_without("""
        import logging
        from mycelos.proxy.egress.connection import UpstreamConnection

        original = UpstreamConnection.begin

        def begin(self, method, head):
            logging.getLogger("some.library").debug("sending %r", head)
            original(self, method, head)

        UpstreamConnection.begin = begin
    """)
    assert broken(stopped, "I2") == {LOG}


def test_i2_a_record_that_holds_a_header_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress.connection import UpstreamConnection
        from mycelos.proxy.egress.trail import Progress

        begin, end, heads = UpstreamConnection.begin, Progress.end, []

        def remembering(self, method, head):
            heads.append(head)
            begin(self, method, head)

        UpstreamConnection.begin = remembering
        Progress.end = lambda self, outcome, reason="": end(self, outcome, heads[-1].decode())
    """)
    assert broken(stopped, "I2") == {TRAIL}


def test_i2_a_door_that_logs_what_is_stored_is_seen(stopped, proxy_without):
    proxy_without("""
        import logging
        from mycelos.proxy.vault.store import Vault

        original = Vault.rotate

        async def rotate(self, service, secret, *rest, **more):
            logging.getLogger("the.vault").debug("rotating to %r", secret)
            return await original(self, service, secret, *rest, **more)

        Vault.rotate = rotate
    """)
    assert what_happened(stopped, "I2")[LOG].startswith("found as ")


def test_i4_an_echo_that_is_learnt_by_heart_is_seen(stopped, proxy_without):
    proxy_without(without_spelling("base64"))
    assert what_happened(stopped, "I4") == {REMEMBERED: "found as base64"}


def test_v4_a_door_that_gives_out_a_credential_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy import asgi
        from mycelos.proxy.gateway_door import GatewayDoor

        async def materialize(self, scope, receive, send):
            await asgi.read_body(receive, 65536)
            with self._vault.open_secret(self._vault.find("canary")) as secret:
                await asgi.answer_json(send, {"secret": secret.reveal().decode()})

        GatewayDoor._materialize = materialize
    """)
    assert broken(stopped, "V4") == {"find a credential in anything that comes through the gateway's door"}


def test_v4_a_check_that_knows_the_raw_value_alone_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.stored_secrets import StoredSecrets

        def look(self, texts):
            for found in self._vault.list():
                with self._vault.open_secret(found) as secret:
                    texts = [text.replace(secret.reveal().decode(), "[credential removed]") for text in texts]
            return texts

        StoredSecrets._look = look
    """)
    assert broken(stopped, "V4") == {
        "have a message with a stored secret kept, in 8 spellings",
        "have a stored secret put on record as the gateway's words",
    }


def test_v4_a_check_that_is_an_oracle_without_end_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy import stored_secrets

        stored_secrets.QUESTIONS = 1_000_000
    """)
    assert broken(stopped, "V4") == {"guess 100 secrets at once"}


def test_v4_entries_that_are_an_oracle_without_end_are_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.text_budget import TextBudget

        TextBudget.take = lambda self, characters: True
    """)
    assert broken(stopped, "V4") == {"guess secrets by entries without end"}


def test_v4_entries_that_are_looked_through_before_they_are_checked_are_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.gateway_door import GatewayDoor
        from mycelos.proxy.ledger.recorder import Recorder
        from mycelos.wire.problems import ProblemCode, Refusal

        doors, original, begin = [], Recorder.append_claimed, GatewayDoor.__init__

        def remembering(self, **parts):
            doors.append(self)
            begin(self, **parts)

        async def append(self, request, judge=None):
            (door,) = doors
            details = str([request.subject, request.details])
            if (await door._secrets.clean({"": details}, counted=False)).held:
                raise Refusal(ProblemCode.INVALID_REQUEST, "A text of the entry holds a stored secret.", "Rotate it.")
            return await original(self, request, judge)

        GatewayDoor.__init__, Recorder.append_claimed = remembering, append
    """)
    assert broken(stopped, "V4") == {"guess secrets by entries that cannot be written"}


def test_v4_an_entry_that_is_not_looked_through_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.stored_secrets import StoredSecrets

        async def never(self, draft):
            return False

        StoredSecrets.is_in_draft = never
    """)
    assert broken(stopped, "V4") == {
        "have a stored secret put on record as the gateway's words",
        "guess secrets by entries without end",
    }


def test_i2_a_request_that_is_put_on_record_as_it_was_worded_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.stored_secrets import Clean, StoredSecrets

        async def as_they_are(self, texts, *, counted=True):
            return Clean(texts, held=False)

        StoredSecrets.clean = as_they_are
    """)
    assert {tried.partition(",")[0] for tried in broken(stopped, "I2")} == {RECORDED, UNNOTICED}


def test_i2_a_refusal_that_is_put_on_record_as_it_was_worded_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.egress import trail

        original = trail._details
        trail._details = lambda call, url, clean: original(call, url, trail._texts(call, url))
    """)
    assert {tried.partition(",")[0] for tried in broken(stopped, "I2")} == {RECORDED}


def test_i2_a_name_that_is_asked_for_in_plain_and_put_on_record_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.materialize import Materializing

        Materializing._is_stored = lambda self, service: True
    """)
    assert {tried.partition(",")[0] for tried in broken(stopped, "I2")} == {RECORDED}
