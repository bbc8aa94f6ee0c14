"""V5: each wall around the exception is taken away in the real thing, and the probe sees it."""

from __future__ import annotations

from taken_walls import broken, what_happened

from mycelos.proxy import materialize


def test_v5_an_allow_list_that_allows_all_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy import materialize

        class Everything(frozenset):
            def __contains__(self, service):
                return True

        materialize.ALLOWED = Everything()
    """)
    assert "arm another service as the operator" in broken(stopped, "V5")


def test_v5_an_allow_list_that_is_wider_by_one_service_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy import materialize

        materialize.ALLOWED = frozenset({"telegram", "github"})
    """)
    (tried, happened), *_ = what_happened(stopped, "V5").items()
    assert tried.startswith("arm each of ")
    assert happened == "armed: github"


def test_v5_a_service_that_is_not_the_armed_one_is_seen(stopped, proxy_without):
    proxy_without("""
        from dataclasses import replace
        from mycelos.proxy.materialize import Materializing

        def spend(self, service):
            arming, self._arming = self._arming, None
            found = self._vault.find(service) or arming.credential
            return replace(arming, credential=found)

        Materializing._spend = spend
    """)
    assert "ask as 'canary' while telegram is armed" in broken(stopped, "V5")


def test_v5_an_arming_that_is_not_spent_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.materialize import Materializing

        original = Materializing._spend

        def spend(self, service):
            kept = self._arming
            try:
                return original(self, service)
            finally:
                self._arming = kept

        Materializing._spend = spend
    """)
    assert "ask a second time" in broken(stopped, "V5")


def test_v5_a_window_without_an_end_is_seen(stopped, monkeypatch):
    """In this process: the probe moves the clock here, and not in a proxy that runs."""
    monkeypatch.setattr(materialize, "WINDOW_SECONDS", 10.0**9)
    assert broken(stopped, "V5") == {"ask after its window"}


def test_v5_a_clock_that_may_be_moved_is_seen(stopped, monkeypatch):
    monkeypatch.setattr(materialize, "step_between", lambda *_: 0.0)
    assert broken(stopped, "V5") == {"ask with the clock set back an hour", "ask with the clock set forward an hour"}


def test_v5_an_arming_that_outlives_a_lockdown_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.proxy.materialize import Materializing

        original = Materializing._demand_open

        def demand(self, arming):
            object.__setattr__(arming, "lockdown", self._lockdown.state.last)
            original(self, arming)

        Materializing._demand_open = demand
    """)
    assert "ask after a lockdown that came later than the arming" in broken(stopped, "V5")


def test_v5_a_credential_that_is_given_out_without_a_record_is_seen(stopped, proxy_without):
    proxy_without("""
        from mycelos.ledger.events import Event
        from mycelos.proxy.ledger import recorder

        original, settled = recorder.Recorder.intent, recorder.Recorder.outcome
        nothing = recorder.Receipt(-1, "0" * 64, Event.PROXY_CREDENTIAL_MATERIALIZED, {})

        async def intent(self, event, **about):
            return nothing if event is nothing.event else await original(self, event, **about)

        async def forget():
            pass

        recorder.Recorder.intent = intent
        recorder.Recorder.outcome = lambda self, made, **about: (
            forget() if made is nothing else settled(self, made, **about)
        )
    """)
    assert {"have it given out without a record", "ask while nothing can be recorded"} <= broken(stopped, "V5")
