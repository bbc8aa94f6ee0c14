"""Starts the children together, watches them, restarts what crashes, stops them in order. One thread, no busy wait.

Everything that can happen is a readable descriptor: a signal (wakeup descriptor), a child's end (pidfd_open(2)),
a child's word that it serves (its readiness pipe); what is due by the clock bounds the wait.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from mycelos.supervisor.child_output import ChildOutput, OutputBudget
from mycelos.supervisor.processes import STOP_ORDER, ChildPlan, Role
from mycelos.supervisor.restarts import RestartHistory
from mycelos.supervisor.state import ChildState

LAUNCHER: Final = str(Path(__file__).with_name("launcher.py"))
READY: Final = b"ready"
BUSY: Final = b"busy"
"""The lines that a child writes about its start: that it serves; before, any number of times, that it goes on."""

_LONGEST_LINE: Final = 8

READY_DEADLINE: Final = 20.0
"""Seconds that a child may say nothing about its start."""

STOP_DEADLINE: Final = 6.0
"""Seconds that one group of children has to end after SIGTERM, before SIGKILL."""

WALL_MISSING: Final = 3
"""The exit code of a child that found a wall missing: then nothing is served, by nobody."""

Log = Callable[..., None]
"""Called with an event's name and its fields."""
_Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@dataclass
class Child:
    """One plan and what has become of it."""

    plan: ChildPlan
    process: subprocess.Popen[bytes] | None = None
    pidfd: int | None = None
    ready_pipe: int | None = None
    ready_text: bytes = b""
    started: float = 0.0
    heard: float = 0.0
    was_busy: bool = False
    ready_since: float | None = None
    start_again_at: float | None = None
    history: RestartHistory = field(default_factory=RestartHistory)
    restarts: int = 0
    is_renewed: bool = False
    is_given_up: bool = False
    budget: OutputBudget = field(default_factory=OutputBudget)
    last_words: str = ""


class Supervisor:
    """Runs a set of children until SIGTERM or SIGINT, or until one cannot be kept running.

    Args:
        plans: the children.
        log: receives each event.
        publish: receives the children's state after each change.
        announce: called once, when all are ready for the first time, or those that are not have been given up.
        ready_deadline: seconds from a child's start, or from anybody's last word of being busy, to its next word.
        stop_deadline: seconds from SIGTERM to SIGKILL.
    """

    def __init__(
        self,
        plans: Sequence[ChildPlan],
        *,
        log: Log,
        publish: Callable[[tuple[ChildState, ...]], None],
        announce: Callable[[], None],
        ready_deadline: float = READY_DEADLINE,
        stop_deadline: float = STOP_DEADLINE,
    ) -> None:
        self._children = {plan.role: Child(plan) for plan in plans}
        self._log = log
        self._publish_states = publish
        self._announce = announce
        self._ready_deadline = ready_deadline
        self._stop_deadline = stop_deadline
        self._selector = selectors.DefaultSelector()
        self._outputs: dict[int, ChildOutput] = {}
        self._announced = False
        self._exit_code: int | None = None
        self._failed: Child | None = None

    def run(self) -> int:
        """Start, watch, stop. Returns 0 after a signal, else the exit code that says what failed.

        Called from the main thread: the children's life hangs on the thread that starts them.
        """
        with self._signals() as signals:
            self._selector.register(signals, selectors.EVENT_READ, self._on_signal)
            try:
                for child in self._children.values():
                    if child.plan.after is None:
                        self._start(child)
                while self._exit_code is None:
                    self._step()
            finally:
                self._stop_all()
                for output in self._outputs.values():
                    output.finish()
                self._selector.close()
        return self._exit_code

    @property
    def failure(self) -> str:
        """Why the system ended without a signal, in one sentence; empty where it did not."""
        if self._failed is None:
            return ""
        role = self._failed.plan.role
        said = self._failed.last_words or "it said nothing; the log above may tell more"
        return f"{role} {'did not stay up' if self._announced else 'did not start'}: {said}"

    def _step(self) -> None:
        for key, _ in self._selector.select(self._next_timeout()):
            # An earlier event of this round may have closed what this one is about.
            if key.fd in self._selector.get_map():
                key.data()
        now = time.monotonic()
        for child in self._children.values():
            if child.start_again_at is not None and now >= child.start_again_at and self._exit_code is None:
                child.start_again_at = None
                if self._may_start(child):
                    child.restarts += 1
                    self._start(child)
            elif self._is_late(child, now):
                self._log("child.not_ready", child=child.plan.role, seconds=self._ready_deadline)
                self._kill(child)

    def _next_timeout(self) -> float | None:
        due = [child.start_again_at for child in self._children.values() if child.start_again_at is not None]
        due += [
            child.heard + self._ready_deadline
            for child in self._children.values()
            if child.process is not None and child.ready_since is None
        ]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _is_late(self, child: Child, now: float) -> bool:
        return child.process is not None and child.ready_since is None and now >= child.heard + self._ready_deadline

    def _may_start(self, child: Child) -> bool:
        return child.plan.after is None or self._children[child.plan.after].ready_since is not None

    def _start_followers(self, leader: Child) -> None:
        for child in self._children.values():
            if child.plan.after is not leader.plan.role:
                continue
            if child.process is None:
                child.restarts += self._announced
                self._start(child)
            else:
                # What it was started on is gone with the leader's earlier process; its end starts it again.
                child.is_renewed = True
                child.process.kill()

    def _start(self, child: Child) -> None:
        plan = child.plan
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        command = [sys.executable, *plan.flags, *plan.program, *plan.arguments, "--ready-fd", str(writing)]
        launcher = [sys.executable, "-I", "-S", LAUNCHER, str(os.getpid()), *command]
        output = ChildOutput(
            lambda line: self._on_line(child, line),
            lambda lines, size: self._log("child.dropped", child=plan.role, lines=lines, bytes=size),
            child.budget,
        )
        try:
            child.process = subprocess.Popen(
                launcher,
                env=dict(plan.environment),
                pass_fds=(*plan.descriptors, writing),
                stdin=subprocess.DEVNULL,
                stdout=output.writing,
                stderr=output.writing,
                cwd="/",
                # No controlling terminal: Ctrl-C reaches the supervisor alone, and no child can type into it.
                start_new_session=True,
            )
        finally:
            os.close(writing)
            output.close_writing()
        self._outputs[output.reading] = output
        self._selector.register(output.reading, selectors.EVENT_READ, lambda: self._on_output(output))
        child.start_again_at = child.ready_since = None
        child.ready_text = b""
        child.was_busy = False
        child.started = child.heard = time.monotonic()
        child.ready_pipe = reading
        child.pidfd = os.pidfd_open(child.process.pid)
        self._selector.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_end(child))
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._on_readiness(child))
        self._log("child.started", child=plan.role, pid=child.process.pid)
        self._publish()

    def _on_readiness(self, child: Child) -> None:
        if child.ready_pipe is None or child.process is None:
            return
        data = os.read(child.ready_pipe, 64)
        *lines, child.ready_text = (child.ready_text + data).split(b"\n")
        while lines and lines[0] == BUSY:
            del lines[0]
            self._on_busy(child)
        if lines == [READY] and not child.ready_text:
            self._on_ready(child, child.process.pid)
        elif lines or not data or len(child.ready_text) > _LONGEST_LINE:
            # It closed the pipe without the line, mostly because it is about to end by itself and say why.
            self._close_ready_pipe(child)

    def _on_busy(self, child: Child) -> None:
        if child.plan.role is not Role.PROXY:
            # It alone has something long to read; a gateway that was taken over could hold the whole start up.
            return
        if not child.was_busy:
            self._log("child.busy", child=child.plan.role)
        child.was_busy = True
        self._give_time()

    def _give_time(self) -> None:
        """To whoever is starting: the gateway is not ready before the proxy has answered it."""
        for child in self._children.values():
            child.heard = time.monotonic()

    def _on_ready(self, child: Child, pid: int) -> None:
        self._close_ready_pipe(child)
        child.ready_since = time.monotonic()
        if child.was_busy:
            self._give_time()
        milliseconds = round((child.ready_since - child.started) * 1000)
        self._log("child.ready", child=child.plan.role, pid=pid, milliseconds=milliseconds)
        self._publish()
        self._start_followers(child)
        self._announce_once()

    def _on_line(self, child: Child, line: str) -> None:
        self._log("child.said", child=child.plan.role, line=line)
        child.last_words = line.strip() or child.last_words

    def _on_output(self, output: ChildOutput) -> None:
        if not output.read():
            self._selector.unregister(output.reading)
            del self._outputs[output.reading]

    def _on_end(self, child: Child) -> None:
        if child.process is None:
            return
        code = child.process.wait()
        now = time.monotonic()
        was_ready = child.ready_since is not None
        served = now - child.ready_since if child.ready_since is not None else 0.0
        self._forget_process(child)
        if child.is_renewed and self._exit_code is None:
            child.is_renewed = False
            child.start_again_at = now
            return
        child.history = child.history.after_failure(served)
        is_refusal = not was_ready and not self._announced
        delay = None if is_refusal else child.history.delay
        self._log("child.ended", child=child.plan.role, exit_code=code, again_in_seconds=delay)
        if self._exit_code is None:
            if delay is None and child.plan.is_spared and code != WALL_MISSING:
                self._log("child.given_up", child=child.plan.role, failures=child.history.failures)
                child.is_given_up = True
            elif is_refusal:
                # It refused to start and has said why on stderr; starting it again would only repeat the line.
                self._log("supervisor.start_failed", child=child.plan.role, exit_code=code)
                self._exit_code = code if code > 0 else 1
                self._failed = child
            elif delay is None:
                self._log("supervisor.gave_up", child=child.plan.role, failures=child.history.failures)
                self._exit_code = 1
                self._failed = child
            else:
                child.start_again_at = now + delay
        self._publish()
        if child.is_given_up:
            self._announce_once()

    def _announce_once(self) -> None:
        is_settled = all(each.ready_since is not None or each.is_given_up for each in self._children.values())
        if not self._announced and is_settled:
            self._announced = True
            self._announce()

    def _on_signal(self) -> None:
        for number in self._signal_socket.recv(64):
            if number in {signal.SIGTERM, signal.SIGINT} and self._exit_code is None:
                self._log("supervisor.stopping", signal=signal.Signals(number).name)
                self._exit_code = 0

    def _stop_all(self) -> None:
        for group in STOP_ORDER:
            self._stop_group([child for role, child in self._children.items() if role in group])

    def _stop_group(self, children: Sequence[Child]) -> None:
        for child in children:
            child.start_again_at = None
            if child.process is not None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._stop_deadline
        for child in children:
            if child.process is None:
                continue
            try:
                code = child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._log("child.killed", child=child.plan.role, pid=child.process.pid)
                child.process.kill()
                code = child.process.wait()
            self._log("child.stopped", child=child.plan.role, exit_code=code)
            self._forget_process(child)
        self._publish()

    def _kill(self, child: Child) -> None:
        if child.process is not None:
            child.process.kill()
            self._on_end(child)

    def _forget_process(self, child: Child) -> None:
        self._close_ready_pipe(child)
        if child.pidfd is not None:
            self._selector.unregister(child.pidfd)
            os.close(child.pidfd)
        child.pidfd = child.process = child.ready_since = None

    def _close_ready_pipe(self, child: Child) -> None:
        if child.ready_pipe is not None:
            self._selector.unregister(child.ready_pipe)
            os.close(child.ready_pipe)
            child.ready_pipe = None

    def _publish(self) -> None:
        self._publish_states(
            tuple(
                ChildState(
                    name=role.value,
                    pid=child.process.pid if child.process is not None else None,
                    ready=child.ready_since is not None,
                    restarts=child.restarts,
                )
                for role, child in self._children.items()
            )
        )

    @contextlib.contextmanager
    def _signals(self) -> Iterator[socket.socket]:
        receiving, sending = socket.socketpair()
        receiving.setblocking(False)
        sending.setblocking(False)
        self._signal_socket = receiving
        handlers: Mapping[int, _Handler] = {
            # The handlers do nothing: what counts is the byte that the interpreter writes to the wakeup descriptor.
            signal.SIGTERM: _noted,
            signal.SIGINT: _noted,
            # A terminal that closes does not end the service.
            signal.SIGHUP: signal.SIG_IGN,
        }
        old_wakeup = signal.set_wakeup_fd(sending.fileno())
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield receiving
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(old_wakeup)
            receiving.close()
            sending.close()


def _noted(_number: int, _frame: FrameType | None) -> None:
    return
