"""age (https://age-encryption.org/v1) around the archive: recipients, identities, both directions in bounded memory.

The only module that knows the library. Keys are those of X25519: `age1...` and `AGE-SECRET-KEY-1...`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyrage
from pyrage.x25519 import Identity, Recipient

from mycelos.proxy.backup.errors import BackupError

_SECRET_PREFIX: Final = "AGE-SECRET-KEY-"  # noqa: S105 - how each identity begins, and none of them
_MAGIC: Final = b"age-encryption.org/v1\n"
_TEXT_LIMIT: Final = 64 * 1024
_NO_KEY: Final = "Make a pair of keys with: mycelos backup create --new-identity FILE"

Progress = Callable[[int], None]
"""Told how many more bytes were worked on."""


def parse_recipients(texts: Iterable[str]) -> list[Recipient]:
    """The recipients of these texts, each once.

    Raises:
        BackupError: there is none, or a text is none. A text is not repeated: it could be the secret half.
    """
    recipients: dict[str, Recipient] = {}
    for number, text in enumerate(texts, start=1):
        if text.strip().upper().startswith(_SECRET_PREFIX):
            raise BackupError(
                detail=f"recipient {number}: this is the secret half of a pair of keys; whoever saw it here can read "
                "what is encrypted for it.",
                next_step="Make a new pair, and give the public half, which begins with age1.",
            )
        try:
            recipients[text.strip()] = Recipient.from_str(text.strip())
        except pyrage.RecipientError:
            raise BackupError(
                detail=f"recipient {number}: this is not an age recipient.",
                next_step=f"It begins with age1 and is the public half of a pair of keys. {_NO_KEY}",
            ) from None
    if not recipients:
        raise BackupError(
            detail="There is no recipient: nobody could read the backup.",
            next_step=f"Name one with --recipient. {_NO_KEY}",
        )
    return list(recipients.values())


def read_lines(path: Path) -> list[str]:
    """The lines of a file of recipients or identities; comments and empty lines are left out.

    Raises:
        BackupError: the file cannot be read as one.
    """
    try:
        with path.open("rb") as stream:
            text = stream.read(_TEXT_LIMIT + 1)
        if len(text) > _TEXT_LIMIT:
            raise BackupError(detail=f"{path} is longer than 64 KiB.", next_step="Name a file of keys, a line each.")
        lines = text.decode("utf-8").splitlines()
    except OSError as error:
        raise BackupError(
            detail=f"{path} cannot be read ({os.strerror(error.errno or 0)}).", next_step="Name a file that is there."
        ) from None
    except UnicodeDecodeError:
        raise BackupError(
            detail=f"{path} is not text.", next_step="An age key that a password protects is decrypted first: age -d"
        ) from None
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def is_open_to_others(path: Path) -> bool:
    """Whether other users may open a file, which must be for its owner alone."""
    return path.exists() and bool(path.stat().st_mode & 0o077)


def read_identities(path: Path) -> list[Identity]:
    """The identities in a file as `age-keygen` writes it.

    Raises:
        BackupError: there is none, or a line is none. No line is repeated.
    """
    identities = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            identities.append(Identity.from_str(line))
        except pyrage.IdentityError:
            raise BackupError(
                detail=f"{path}: line {number} of its keys is not an age identity.",
                next_step=f"It begins with {_SECRET_PREFIX}1 and is the secret half of a pair of keys.",
            ) from None
    if not identities:
        raise BackupError(detail=f"{path} holds no age identity.", next_step="Name the file that age-keygen wrote.")
    return identities


def new_identity(path: Path) -> Recipient:
    """Make a pair of keys, write it to ``path`` (mode 0600) and return the public half.

    Raises:
        BackupError: there is a file already.
        OSError: it cannot be written.
    """
    identity = Identity.generate()
    recipient = identity.to_public()
    text = f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n# public key: {recipient}\n{identity}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise BackupError(
            detail=f"There is already a file {path}; it stays as it is.", next_step="Name a new one."
        ) from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(descriptor)
    return recipient


def seal(pieces: Iterator[bytes], descriptor: int, recipients: list[Recipient]) -> None:
    """Write the encrypted form of all ``pieces`` to an open file, and have it on the disk.

    Raises:
        BackupError: of ``pieces``.
        OSError: the file cannot be written; what is there is not whole.
    """
    source, target = _Source(pieces), _Target(descriptor, lambda _count: None)
    try:
        pyrage.encrypt_io(source, target, recipients)
    finally:
        # The library lets some errors of reader and writer pass: what was caught here is what counts.
        source.demand_no_fault()
        target.demand_no_fault()
    os.fsync(descriptor)


def unseal(source: Path, descriptor: int, identities: list[Identity], progress: Progress) -> None:
    """Write the plaintext of the file ``source`` to an open file. Only when this returns, all of it is authentic.

    Raises:
        BackupError: it is no age file, for other recipients, damaged or cut.
        OSError: a file cannot be read or written.
    """
    target = _Target(descriptor, progress)
    with source.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise BackupError(detail=f"{source} is not a file that age encrypted.", next_step="Name a backup.")
        stream.seek(0)
        try:
            pyrage.decrypt_io(stream, target, identities)
        except pyrage.DecryptError as error:
            target.demand_no_fault()
            if "matching keys" in str(error):
                raise BackupError(
                    detail=f"{source} was encrypted for other recipients.",
                    next_step="Give the identity that belongs to one of its recipients.",
                ) from None
            raise _damaged(source) from None
        except OSError:
            target.demand_no_fault()
            raise _damaged(source) from None
        target.demand_no_fault()


def _damaged(source: Path) -> BackupError:
    return BackupError(detail=f"{source} is damaged or cut short.", next_step="Use another copy of the backup.")


class _Source:
    """A reader over pieces, as the library wants one."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._fault: Exception | None = None

    def read(self, count: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
        except StopIteration:
            return b""
        except Exception as error:
            self._fault = error
            raise
        taken, self._rest = self._rest[:count], self._rest[count:]
        return bytes(taken)

    def demand_no_fault(self) -> None:
        if self._fault is not None:
            raise self._fault


class _Target:
    """A writer to a descriptor. After one error it takes nothing more."""

    def __init__(self, descriptor: int, progress: Progress) -> None:
        self._descriptor = descriptor
        self._progress = progress
        self._fault: OSError | None = None

    def write(self, data: bytes) -> int:
        self.demand_no_fault()
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self._fault = error
            raise
        self._progress(len(data))
        return len(data)

    def flush(self) -> None:
        self.demand_no_fault()

    def demand_no_fault(self) -> None:
        if self._fault is not None:
            raise self._fault
