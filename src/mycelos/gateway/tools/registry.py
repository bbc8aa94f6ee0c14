"""The tools that exist: name, description, argument type and handler. A handler is reached with a permit only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec

from mycelos.policy.capabilities import NameRefusedError, check_registry
from mycelos.wire.conversation import ToolDefinition
from mycelos.wire.decoding import describe
from mycelos.wire.problems import ProblemCode, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from mycelos.gateway.tools.permit import Permit

CONTENT_LIMIT: Final = 64 * 1024
"""Characters of a tool's answer that a model is shown; the rest is cut off and the answer says so."""

_FUNCTION_NAME_LIMIT: Final = 64
_UNTRUSTED: Final = "untrusted"


@dataclass(frozen=True)
class ToolAnswer:
    """What a tool gave back. ``labels`` say where it came from."""

    content: str
    labels: tuple[str, ...] = (_UNTRUSTED,)


@dataclass(frozen=True)
class Tool:
    """One tool. ``arguments`` is a msgspec struct; the schema that models see comes from it."""

    name: str
    description: str
    arguments: type[msgspec.Struct]
    handler: Callable[[Permit, Any], Awaitable[ToolAnswer]]

    def definition(self) -> ToolDefinition:
        """The tool as a model sees it."""
        (_,), components = msgspec.json.schema_components((self.arguments,))
        return ToolDefinition(self.name, self.description, components[self.arguments.__name__])

    def check(self, args: dict[str, Any]) -> msgspec.Struct:
        """The arguments as the tool's struct.

        Raises:
            Refusal: `invalid_request`; the detail names the argument.
        """
        try:
            return msgspec.convert(args, type=self.arguments)
        except msgspec.ValidationError as error:
            raise Refusal(
                ProblemCode.INVALID_REQUEST,
                describe(error, "args"),
                f"Call {self.name} with the arguments of its schema.",
            ) from None

    async def call(self, permit: Permit, args: dict[str, Any]) -> ToolAnswer:
        """Run the handler for the one call that the permit is for.

        Raises:
            Refusal: the permit is for another call or used up, or what the handler refuses.
        """
        checked = self.check(args)
        permit.spend(self.name, args)
        answer: ToolAnswer = await self.handler(permit, checked)
        if len(answer.content) > CONTENT_LIMIT:
            return ToolAnswer(answer.content[:CONTENT_LIMIT] + "\n[cut off here: the answer was longer]", answer.labels)
        return answer


class Registry:
    """All tools by name.

    Raises:
        NameRefusedError: a malformed or repeated name, one that is another's prefix, or two names that would be
            one function name for a model's provider.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        listed = list(tools)
        self.names = check_registry(tool.name for tool in listed)
        self._tools = {tool.name: tool for tool in listed}
        self._functions: dict[str, str] = {}
        for name in sorted(self.names):
            function = function_name(name)
            if function in self._functions:
                message = f"{name} and {self._functions[function]} would both be the function {function}"
                raise NameRefusedError(message)
            self._functions[function] = name

    def find(self, name: str) -> Tool | None:
        """The tool of this name, or None."""
        return self._tools.get(name)

    def tool_of_function(self, function: str) -> str:
        """The tool that a provider's function name stands for; an unknown one stays as it is, to be refused by name."""
        return self._functions.get(function, function)

    def definitions(self, names: Iterable[str]) -> tuple[ToolDefinition, ...]:
        """The definitions of these tools, in the order of their names."""
        return tuple(self._tools[name].definition() for name in sorted(names))


def function_name(tool: str) -> str:
    """A tool's name as providers allow it: letters, digits, ``_`` and ``-``, 64 at most."""
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", tool.replace(".", "__"))
    if len(plain) <= _FUNCTION_NAME_LIMIT:
        return plain
    return f"{plain[:47]}_{sha256(tool.encode()).hexdigest()[:16]}"
