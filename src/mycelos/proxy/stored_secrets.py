"""Whether a text holds a stored secret: people's messages, what the gateway puts on record, and what its requests say.

The whole value in any spelling counts, a part of it does not. Each answer tells whoever chose the text whether a guess
in it was right. So the text that is looked through in a minute is bounded, for each way of asking; what was seen to
hold no secret costs nothing when it comes again.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from mycelos.proxy.egress.scrub import Scrubber
from mycelos.proxy.text_budget import MINUTE, TextBudget
from mycelos.wire.identifiers import is_identifier
from mycelos.wire.operator import SECRET_MINIMUM
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from mycelos.ledger.entry import Draft
    from mycelos.proxy.vault.hazmat import Secret
    from mycelos.proxy.vault.records import Credential

QUESTIONS: Final = 60
"""How many messages may be asked about in a minute."""
CLAIMED_CHARACTERS: Final = 1024 * 1024
"""Characters a minute of messages and of the gateway's own entries together. An entry that says something new has
some hundreds, a message 32,000 at most."""
REQUEST_CHARACTERS: Final = 4 * 1024 * 1024
"""Characters a minute of what requests to the outside say of themselves: some three hundred new URLs a second."""
_REMEMBERED_CHARACTERS: Final = 1024 * 1024


class Vault(Protocol):
    """The vault, as it is needed here."""

    def list(self) -> Sequence[Credential]:
        """Every credential."""
        ...

    def every_secret(self) -> AbstractContextManager[Sequence[Secret]]:
        """The plaintext of all of them, inside the block; of parked ones too."""
        ...


class TooMuchTextError(Refusal):
    """More was to be looked through within a minute than is."""

    def __init__(self) -> None:
        super().__init__(
            ProblemCode.RATE_LIMITED,
            "More text was to be looked through for stored secrets than is within a minute.",
            "Send it again in a minute. If nobody sends so much on purpose, look for who guesses: mycelos db audit "
            "--suspicious",
        )


@dataclass(frozen=True)
class Clean:
    """Texts by name, each stored secret in them replaced; ``held`` is whether there was one."""

    texts: Mapping[str, str]
    held: bool


class StoredSecrets:
    """Looks for every stored secret. Nothing of a secret is kept; of texts, only such as held none."""

    def __init__(self, vault: Vault, characters: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._vault = vault
        self._monotonic = monotonic
        self._budget = TextBudget(characters, monotonic)
        self._asked: list[float] = []
        self._versions: frozenset[tuple[str, int]] = frozenset()
        self._harmless: set[str] = set()
        self._remembered = 0

    async def answer(self, text: str) -> bool:
        """Whether a person's message, as the gateway says, holds one.

        Raises:
            Refusal: `rate_limited`, or what the vault refused.
        """
        now = self._monotonic()
        self._asked = [moment for moment in self._asked if now - moment < MINUTE]
        if len(self._asked) >= QUESTIONS or not self._budget.take(len(text)):
            raise TooMuchTextError
        self._asked.append(now)
        return await self._cleaned([text]) != [text]

    async def is_in_draft(self, draft: Draft) -> bool:
        """Whether what an entry of the gateway's would write holds one.

        Raises:
            Refusal: `rate_limited`, or what the vault refused.
        """
        return (await self.clean({text: text for text in _written(draft)})).held

    async def clean(self, texts: Mapping[str, str], *, counted: bool = True) -> Clean:
        """``texts`` without any; where they are not ``counted``, whoever chose them needs to guess nothing.

        Raises:
            Refusal: `rate_limited`, or what the vault refused.
        """
        versions = frozenset((credential.id, credential.version) for credential in self._vault.list())
        if versions != self._versions:
            self._versions, self._harmless, self._remembered = versions, set(), 0
        # Names of agents, tools and hosts come again and again: one look at each is enough while no secret is new.
        new = sorted({text for text in texts.values() if _could_hold(text)} - self._harmless)
        if not new:
            return Clean(texts, held=False)
        if counted and not self._budget.take(sum(map(len, new))):
            raise TooMuchTextError
        replaced = dict(zip(new, await self._cleaned(new), strict=True))
        if versions == self._versions:
            self._remember([text for text in new if replaced[text] == text])
        clean = {name: replaced.get(text, text) for name, text in texts.items()}
        return Clean(clean, held=clean != dict(texts))

    def _remember(self, harmless: Iterable[str]) -> None:
        added = set(harmless) - self._harmless
        size = sum(map(len, added))
        if self._remembered + size > _REMEMBERED_CHARACTERS:
            self._harmless, self._remembered = set(), 0
        self._harmless |= added
        self._remembered += size

    async def _cleaned(self, texts: list[str]) -> list[str]:
        # Beside the event loop: opening many secrets, and compiling them, takes a while.
        return await asyncio.to_thread(self._look, texts)

    def _look(self, texts: list[str]) -> list[str]:
        """``texts``, each as it is or, where it held a secret, with a mark in its place."""
        with self._vault.every_secret() as secrets:
            scrubber = Scrubber(secret.reveal() for secret in secrets)
            with closing(scrubber):
                return [_scrubbed(scrubber, text) for text in texts]


def _scrubbed(scrubber: Scrubber, text: str) -> str:
    before = scrubber.count
    clean = scrubber.scrub_whole(text.encode("utf-8", "surrogatepass"))
    return text if scrubber.count == before else clean.decode("utf-8", "replace")


def _could_hold(text: str) -> bool:
    # Identifiers are of a closed form, and each is new.
    return len(text.encode("utf-8", "surrogatepass")) >= SECRET_MINIMUM and not is_identifier(text)


def _written(draft: Draft) -> Iterator[str]:
    """Every text and number of an entry that the gateway chose. Of a digest the ledger holds an HMAC."""
    yield from (draft.principal, draft.actor, draft.run, draft.agent, draft.subject, draft.outcome, draft.reason)
    yield from _texts(json.loads(draft.details))


def _texts(value: Any) -> Iterator[str]:
    """Every text and number within a value of JSON, names of fields aside."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict | list):
        parts: Iterable[Any] = value.values() if isinstance(value, dict) else value
        for part in parts:
            yield from _texts(part)
