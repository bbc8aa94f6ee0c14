"""Which objects of this process hold a secret: everything that the collector knows, what those refer to, and frames.

What native memory holds cannot be seen this way. The compiled matchers of the scrubber hold secrets there: they are
counted. `serve_beside` lets a twin be asked over a socket of its own.
"""

from __future__ import annotations

import gc
import io
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import msgspec
from ahocorasick_rs import BytesAhoCorasick

from mycelos.wire.secret_forms import secret_forms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import FrameType

_LEAVES: Final = (bytes, bytearray, memoryview, str, io.BytesIO, io.StringIO)
_QUESTION_LIMIT: Final = 4096


class Look(msgspec.Struct, frozen=True):
    """What was found: kinds of objects that hold a form of the secret, each with who refers to it; living matchers."""

    holders: tuple[str, ...]
    matchers: int


def look(forms: Iterable[bytes]) -> Look:
    """Walk through everything; ``forms`` are not found, nor is what belongs to the walk.

    Nothing is collected before: what an uncollected cycle keeps is kept.
    """
    wanted = tuple(forms)
    texts = tuple(form.decode("utf-8", "replace") for form in wanted)
    seen: dict[int, Any] = {id(thing): None for thing in (*wanted, *texts, wanted, texts)}
    fresh: dict[int, Any] = {}
    frontier = _roots()
    try:
        while frontier:
            fresh = {id(thing): thing for thing in frontier if id(thing) not in seen}
            seen |= fresh
            frontier = gc.get_referents(*fresh.values())
        matchers = len(_of_kind(seen, (BytesAhoCorasick,)))
        return Look(_holders(seen, wanted, texts), matchers)
    finally:
        # Whoever looks at this frame next would find all of it in its local variables.
        for own in (seen, fresh, frontier):
            own.clear()


def serve_beside(path: Path) -> None:
    """Answer whoever connects at ``path`` and says a secret, on a thread of its own, while the process lives."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    threading.Thread(target=_answer_each, args=(listener,), daemon=True).start()


def ask(path: Path, secret: str, seconds: float) -> Look:
    """The same from outside.

    Raises:
        OSError: it does not answer, or not in time.
    """
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(seconds)
        asking.connect(str(path))
        asking.sendall(secret.encode())
        asking.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := asking.recv(_QUESTION_LIMIT):
            answer += piece
    try:
        return msgspec.json.decode(answer, type=Look)
    except msgspec.DecodeError:
        message = "the walk was not finished"
        raise OSError(message) from None


def _answer_each(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            answer(connection)


def answer(connection: socket.socket) -> None:
    """Look for the secret that ``connection`` says; where it says none, there is no answer."""
    if secret := connection.recv(_QUESTION_LIMIT):
        connection.sendall(msgspec.json.encode(look(secret_forms(secret))))


def _roots() -> list[Any]:
    """Every object that the collector knows, and the local variables of what runs in other threads at this moment."""
    frames = sys._current_frames()  # noqa: SLF001 - the documented way to other threads' frames
    # Not this thread's: a frame that knows itself would stay, and with it all that the walk has seen.
    del frames[threading.get_ident()]
    found: list[Any] = []
    for innermost in frames.values():
        frame: FrameType | None = innermost
        while frame is not None:
            found += frame.f_locals.values()
            frame = frame.f_back
    return found + gc.get_objects()


def _of_kind(seen: dict[int, Any], kinds: tuple[type, ...]) -> list[Any]:
    """The objects of these types and of those derived from them: each type is asked, of which there are few."""
    types = {kind for kind in set(map(type, seen.values())) if issubclass(kind, kinds)}
    return [thing for thing in seen.values() if type(thing) in types]


def _holders(seen: dict[int, Any], wanted: tuple[bytes, ...], texts: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds of leaves in which a form stands, with the kinds of what refers to them."""
    leaves = _holding(_of_kind(seen, _LEAVES), wanted, texts)
    named = {id(leaf): f"a {type(leaf).__name__}" for leaf in leaves}
    if not named:
        return ()
    found = {
        (id(leaf), f"{named[id(leaf)]} of {type(owner).__module__}.{type(owner).__qualname__}")
        for owner in list(seen.values())
        for leaf in gc.get_referents(owner)
        if id(leaf) in named
    }
    with_owner = {leaf for leaf, _ in found}
    # A local variable of a frame that runs has no owner that the collector knows.
    return tuple(sorted({text for _, text in found} | {named[leaf] for leaf in named.keys() - with_owner}))


def _holding(leaves: list[Any], wanted: tuple[bytes, ...], texts: tuple[str, ...]) -> list[Any]:
    """Those of ``leaves`` in which a form stands."""
    words = [leaf for leaf in leaves if isinstance(leaf, str)]
    others = [(leaf, _content(leaf)) for leaf in leaves if not isinstance(leaf, str)]
    # All at once first: most often there is nothing, and then none is looked at by itself.
    found: list[Any] = []
    if _stands(texts, "\n".join(words)):
        found += [word for word in words if _stands(texts, word)]
    if _stands(wanted, b"\n".join(content for _, content in others)):
        found += [leaf for leaf, content in others if _stands(wanted, content)]
    return found


def _stands(forms: Iterable[Any], within: Any) -> bool:
    return any(form in within for form in forms)


def _content(leaf: Any) -> bytes:
    try:
        if isinstance(leaf, io.StringIO):
            return leaf.getvalue().encode("utf-8", "surrogatepass")
        return leaf.getvalue() if isinstance(leaf, io.BytesIO) else bytes(leaf)
    except ValueError:
        # A view that was released, a stream that was closed: there is nothing in it.
        return b""
