"""What the ledger's witnesses say of it, for `mycelos db audit verify`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mycelos.cli.output import CommandError, ExitCode
from mycelos.configuration.environment import ConfigurationError
from mycelos.configuration.operator_file import read_operator_file
from mycelos.configuration.witness import witness_settings
from mycelos.ledger.fault import Fault
from mycelos.ledger.verify import GIVEN_KEY, RememberedNote, Verdict, Verification
from mycelos.proxy.ledger.view import SavedLog
from mycelos.proxy.witness.consult import Word, consult, post_of
from mycelos.proxy.witness.last_set import LastSetError, read_last_set
from mycelos.proxy.witness.remembered import witnessed

if TYPE_CHECKING:
    from pathlib import Path

    from mycelos.configuration.environment import Environment
    from mycelos.configuration.layout import DataLayout
    from mycelos.proxy.ledger.heads import Outside


class Witnesses:
    """The witnesses that are set. Make it before the ledger is read: what they remember by now must be in it."""

    def __init__(
        self, environment: Environment, layout: DataLayout, outside: Outside | None, ledger: Path | None = None
    ) -> None:
        """Read what lies on this machine. ``ledger`` is asked for proofs, by default that of the ``layout``.

        Raises:
            CommandError: a setting cannot be used.
        """
        self._environment = environment
        self._log = SavedLog(ledger or layout.ledger)
        try:
            self._settings = witness_settings(environment, read_operator_file(layout.operator_file), layout)
        except ConfigurationError as error:
            raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None
        self._before = witnessed(self._settings, outside)
        self.unreadable = self._before.unreadable
        """Witnesses whose file is there but cannot be read."""
        self.evidence = {name: RememberedNote(note) for name, note in self._before.notes.items()}
        """The newest checkpoint of each, for the walk."""

    def missing_of(self, result: Verification) -> tuple[str, ...]:
        """Of each that has no word, or not all of it, why. A ledger that was never signed had nothing to give them."""
        return self._before.missing if result.signed_size else ()

    def weigh(self, result: Verification, walked: str | None) -> Verification:
        """Ask them of a ledger that was found sound up to ``walked``, its newest checkpoint, and say what it comes to.

        Raises:
            CommandError: a setting cannot be used.
            LedgerError: the ledger cannot be read for a proof.
        """
        has_more = self._settings.url is not None or bool(self._before.older)
        if result.verdict is Verdict.BROKEN or walked is None or not has_more:
            return result
        try:
            words = asyncio.run(self._ask(walked))
        except ConfigurationError as error:
            raise CommandError(str(error), exit_code=ExitCode.WRONG_USAGE) from None
        return weigh(result, words)

    async def _ask(self, walked: str) -> tuple[Word, ...]:
        post = await post_of(self._environment)
        return await consult(self._settings, self._before, self._log, walked, post)


def weigh(result: Verification, words: tuple[Word, ...]) -> Verification:
    """One that disagrees breaks it, one that cannot be asked is evidence that is missing, others bear it out."""
    for word in words:
        if word.agrees is False:
            what = f"{word.witness} remembers another ledger"
            remembered = "another history" if word.size is None else f"{word.size} entries that it remembers"
            fault = Fault(max(result.head.seq, 0), what, remembered, word.reason)
            return replace(result, verdict=Verdict.BROKEN, reason=f"{what}: {word.reason}", fault=fault)
    unasked = [f"{word.witness} could not be asked: {word.reason}" for word in words if word.agrees is None]
    if unasked:
        return result.without(unasked)
    if not words:
        return result
    names = tuple(word.witness for word in words if word.witness not in result.compared)
    compared = (*result.compared, *names)
    if result.verdict is Verdict.CANNOT_TELL and set(result.compared) <= {GIVEN_KEY} and not result.untrusted:
        reason = f"every link holds, and {' and '.join(names)} remembers the same"
        return replace(result, verdict=Verdict.HOLDS, reason=reason, compared=compared)
    return replace(result, compared=compared)


def witness_url(environment: Environment, layout: DataLayout, outside: Outside | None) -> str | None:
    """The witness with a URL: the one that is set here, or else the one that the proxy had last."""
    with suppress(ConfigurationError):
        settings = witness_settings(environment, read_operator_file(layout.operator_file), layout)
        if settings.url is not None:
            return settings.url
    with suppress(LastSetError):
        return read_last_set(outside).url
    return None
