"""`python -I -m mycelos.sandbox.spawner`: the one door through which runs start.

It takes a profile's name and a run's identifier and nothing else; what a run may do comes from installed code. It is
one thread, holds no secret, and answers with two descriptors once the run is armed: its channel, and its lease. When
the lease's other end closes, the run is ended with everything that it started.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.sandbox import kernel, process, process_tree
from mycelos.sandbox.errors import Layer, SandboxRefused, explain
from mycelos.sandbox.mechanism import RunUsers, Sandbox, choose_sandbox
from mycelos.sandbox.plan import RunModule
from mycelos.sandbox.probe import self_test
from mycelos.sandbox.profiles import AGENT, SandboxProfile
from mycelos.sandbox.status import LONGEST_LINE, check_status
from mycelos.sandbox.workspace import open_run_workspace
from mycelos.wire.decoding import decode_request
from mycelos.wire.identifiers import IdentifierError, Kind, parse_identifier
from mycelos.wire.problems import ProblemCode, Refusal
from mycelos.wire.spawn import Profile, RunEnded, SpawnAnswer, SpawnRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MOST_RUNS: Final = 32
"""Runs at the same time."""

_LONGEST_REQUEST: Final = 4096
_NO_NONCE: Final = "0" * 32
_PROGRAMS: Final[Mapping[Profile, tuple[SandboxProfile, RunModule]]] = {
    Profile.AGENT: (AGENT, RunModule("mycelos.runner"))
}


class _Nonce(msgspec.Struct):
    nonce: str


@dataclass
class _Run:
    run: str
    nonce: str
    confined: process.ConfinedProcess
    lease: socket.socket
    pidfd: int
    # The gateway's ends, until the run is armed and they are handed over.
    channel_end: socket.socket | None
    lease_end: socket.socket | None


class Spawner:
    """The state of the door: what is running, and what each readable descriptor means."""

    def __init__(self, data_directory: Path, requests: socket.socket, sandbox: Sandbox | SandboxRefused) -> None:
        self._data_directory = data_directory
        self._requests = requests
        self._sandbox = sandbox
        self._users = RunUsers()
        self._runs: dict[int, _Run] = {}
        self._poller = select.poll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._serving = True
        requests.setblocking(False)

    def serve(self, stop: int) -> None:
        """Answer requests until every peer is gone or ``stop`` becomes readable; then end all runs."""
        self._watch(self._requests.fileno(), self._take_request)
        self._watch(stop, self._stop)
        try:
            while self._serving:
                ready = [(descriptor, self._handlers[descriptor]) for descriptor, _ in self._poller.poll()]
                for descriptor, handler in ready:
                    # An earlier event of this round may have ended what this one is about, or used its number again.
                    if self._handlers.get(descriptor) is handler:
                        handler()
        finally:
            for run in list(self._runs.values()):
                self._end(run)

    def _stop(self) -> None:
        self._serving = False

    def _watch(self, descriptor: int, handler: Callable[[], None]) -> None:
        self._handlers[descriptor] = handler
        self._poller.register(descriptor, select.POLLIN)

    def _unwatch(self, descriptor: int) -> None:
        if self._handlers.pop(descriptor, None) is not None:
            self._poller.unregister(descriptor)

    def _take_request(self) -> None:
        # recv, not recvmsg: descriptors that somebody attached are closed by the kernel.
        try:
            data = self._requests.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            self._serving = False
            return
        if not data and self._peer_is_gone():
            self._serving = False
            return
        try:
            request = decode_request(data, SpawnRequest, "spawn request")
            self._start(request)
        except Refusal as refusal:
            problem = refusal.problem
            self._answer_refused(_nonce_of(data), problem.code, problem.detail, problem.next)
        except SandboxRefused as refused:
            self._answer_refused(_nonce_of(data), ProblemCode.SANDBOX_REFUSED, *_words(refused))

    def _peer_is_gone(self) -> bool:
        poller = select.poll()
        poller.register(self._requests, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poller.poll(0))

    def _start(self, request: SpawnRequest) -> None:
        if isinstance(self._sandbox, SandboxRefused):
            raise self._sandbox
        try:
            name = parse_identifier(Kind.RUN, request.run)
        except IdentifierError:
            raise Refusal(
                ProblemCode.INVALID_REQUEST, "Field run is not a run's identifier", "Send run_ and 26 letters"
            ) from None
        if any(run.run == name for run in self._runs.values()):
            raise Refusal(ProblemCode.CONFLICT, f"{name} is running", "End it, or start another run")
        if len(self._runs) >= MOST_RUNS:
            raise Refusal(ProblemCode.RATE_LIMITED, f"{MOST_RUNS} runs are running", "Wait until one of them ends")
        profile, program = _PROGRAMS[request.profile]
        user = self._users.take([run.confined.plan.user for run in self._runs.values()])
        workspace = open_run_workspace(self._data_directory, name, user)
        channel_end, channel = socket.socketpair()
        lease_end, lease = socket.socketpair()
        try:
            plan = self._sandbox.plan(profile, workspace.place, program, user)
            with channel:
                confined = process.start(plan, channel=channel.fileno(), workspace=workspace.descriptor)
        except (OSError, SandboxRefused) as error:
            for end in (channel_end, lease_end, lease):
                end.close()
            if isinstance(error, SandboxRefused):
                raise
            raise SandboxRefused(
                Layer.IDENTITY, f"no process could be made: {explain(error)}", "Look at the service's limits"
            ) from None
        finally:
            workspace.close()
        run = _Run(name, request.nonce, confined, lease, os.pidfd_open(confined.pid), channel_end, lease_end)
        self._runs[confined.pid] = run
        lease.setblocking(False)
        self._watch(confined.status, lambda: self._armed(run))
        self._watch(run.pidfd, lambda: self._end(run))
        if confined.diagnostics is not None:
            self._watch(confined.diagnostics, lambda: self._read_diagnostics(run))

    def _armed(self, run: _Run) -> None:
        self._unwatch(run.confined.status)
        line = os.read(run.confined.status, LONGEST_LINE)
        try:
            check_status(line, run.confined.died())
        except SandboxRefused as refused:
            self._answer_refused(run.nonce, ProblemCode.SANDBOX_REFUSED, *_words(refused))
            self._end(run)
            return
        if run.channel_end is None or run.lease_end is None:
            return
        answer = SpawnAnswer(1, run.nonce, ok=True, code="", detail="", next="")
        delivered = self._send(answer, [run.channel_end.fileno(), run.lease_end.fileno()])
        run.channel_end.close()
        run.lease_end.close()
        run.channel_end = run.lease_end = None
        if not delivered:
            self._end(run)
            return
        self._watch(run.lease.fileno(), lambda: self._lease_readable(run))

    def _lease_readable(self, run: _Run) -> None:
        # Nothing is ever sent on it: data is as good a reason to end the run as its end.
        self._end(run)

    def _read_diagnostics(self, run: _Run) -> None:
        if not run.confined.read_diagnostics() and run.confined.diagnostics is not None:
            self._unwatch(run.confined.diagnostics)

    def _end(self, run: _Run) -> None:
        """End every process of the run, say how it ended, forget it."""
        if self._runs.pop(run.confined.pid, None) is None:
            return
        if run.channel_end is not None:
            self._answer_unarmed(run)
        for descriptor in (run.confined.status, run.confined.diagnostics, run.pidfd, run.lease.fileno()):
            if descriptor is not None:
                self._unwatch(descriptor)
        code, number = run.confined.end({other.confined.pid for other in self._runs.values()})
        run.confined.read_diagnostics()
        if code and run.confined.text:
            sys.stderr.write(f"{run.run} ended with {code}: {run.confined.diagnosis()[-1000:]}\n")
        # Where the gateway has closed its end, nobody is there to be told.
        with contextlib.suppress(OSError):
            run.lease.send(msgspec.json.encode(RunEnded(1, code, number)))
        for end in (run.lease, run.channel_end, run.lease_end):
            if end is not None:
                end.close()
        os.close(run.pidfd)
        run.confined.close()

    def _answer_unarmed(self, run: _Run) -> None:
        # Once its status has been read, the answer is out.
        if run.confined.status in self._handlers:
            line = os.read(run.confined.status, LONGEST_LINE) if _readable(run.confined.status) else b""
            try:
                check_status(line, run.confined.died())
                refused = run.confined.died()
            except SandboxRefused as reason:
                refused = reason
            self._answer_refused(run.nonce, ProblemCode.SANDBOX_REFUSED, *_words(refused))

    def _answer_refused(self, nonce: str, code: ProblemCode, detail: str, next_step: str) -> None:
        self._send(SpawnAnswer(1, nonce, ok=False, code=code.value, detail=detail, next=next_step), [])

    def _send(self, answer: SpawnAnswer, descriptors: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._requests, [msgspec.json.encode(answer)], list(descriptors))
        except OSError as error:
            sys.stderr.write(f"the answer could not be delivered: {explain(error)}\n")
            return False
        return True


def _readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _nonce_of(data: bytes) -> str:
    """The request's nonce where it can be made out, so that even a wrong request gets its answer."""
    try:
        nonce = msgspec.json.decode(data, type=_Nonce).nonce
        return nonce if len(nonce) == len(_NO_NONCE) and int(nonce, 16) >= 0 else _NO_NONCE
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, RecursionError):
        return _NO_NONCE


def _words(refused: SandboxRefused) -> tuple[str, str]:
    return f"Sandbox layer {refused.layer.value} is missing: {refused.cause}", refused.fix


def main() -> None:
    """Choose the mechanism, say ready, serve."""
    parser = argparse.ArgumentParser(prog="mycelos-spawner", allow_abbrev=False)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--request-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int)
    arguments = parser.parse_args()
    kernel.process_control(kernel.PR_SET_DUMPABLE, 0)
    process_tree.become_reaper()
    stop_read, stop_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(stop_write)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    requests = socket.socket(fileno=arguments.request_fd)
    requests.set_inheritable(False)
    try:
        sandbox: Sandbox | SandboxRefused = choose_sandbox(self_test)
    except SandboxRefused as refused:
        # It goes on, to give each request the reason; it starts nothing.
        sandbox = refused
        sys.stderr.write(f"{refused}\n")
    if arguments.ready_fd is not None:
        os.write(arguments.ready_fd, b"ready\n")
        os.close(arguments.ready_fd)
    Spawner(arguments.data_dir.absolute(), requests, sandbox).serve(stop_read)


if __name__ == "__main__":
    main()
