"""The one way in which the operator changes anything: intent on disk, effect, outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from mycelos.proxy.operator_door.views import result_details
from mycelos.proxy.vault.state import announced
from mycelos.wire.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from mycelos.ledger.events import Event
    from mycelos.proxy.ledger.recorder import Recorder

OPERATOR: Final = "operator"
"""The principal of every entry that this door writes."""

Result = TypeVar("Result")


class RecordedChange:
    """Records each change around its effect. ``changed`` is called after each effect, done or refused.

    ``anchor`` says what the vault holds; each outcome says it too, so that neither can be set back without the other.
    """

    def __init__(
        self, recorder: Recorder, changed: Callable[[], None], anchor: Callable[[], Mapping[str, Any]]
    ) -> None:
        self._recorder = recorder
        self._changed = changed
        self._anchor = anchor

    async def __call__(
        self, event: Event, subject: str, details: Mapping[str, Any], effect: Callable[[], Awaitable[Result]]
    ) -> Result:
        """Write the intent, await ``effect``, write its outcome, and return what it gave.

        Raises:
            Refusal: of the effect, on record as its outcome; `audit_unavailable`, and nothing was done, or else the
                text says that it was.
        """
        intent = await self._recorder.intent(event, principal=OPERATOR, subject=subject, details=details)
        try:
            # Whatever the effect came to, what is on its way is decided again by what holds now.
            try:
                with announced():
                    result = await effect()
            finally:
                self._changed()
        except Refusal as refusal:
            reason = refusal.problem.code.value
            await self._recorder.outcome(intent, outcome="refused", reason=reason, details=self._anchor())
            raise
        except Exception as error:
            reason = type(error).__name__
            await self._recorder.outcome(intent, outcome="failed", reason=reason, details=self._anchor())
            raise
        try:
            await self._recorder.outcome(intent, outcome="ok", details={**result_details(result), **self._anchor()})
        except Refusal as refusal:
            raise Refusal(
                refusal.problem.code,
                "The change was made, and only its intent is on record: the ledger took nothing more",
                "See how it stands before you try again; mycelos doctor shows what is wrong with the disk.",
            ) from None
        return result
