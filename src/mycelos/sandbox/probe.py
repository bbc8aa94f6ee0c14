"""Attacking the sandbox and the gateway's walls on this machine, and saying what held.

The outcome of each attack is compared with what the mechanism in use promises; `OPEN_UNDER_LANDLOCK` names
what Landlock alone does not cover, so that nobody is told more than is true.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from mycelos.configuration.layout import DataLayout
from mycelos.sandbox import process
from mycelos.sandbox.attacks import AGENT_ATTACKS, GATEWAY_ATTACKS, TOOLS_ATTACKS
from mycelos.sandbox.attempt import Attack, Order, Outcome, Targets, attempt_all
from mycelos.sandbox.confine import confine_gateway
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.mechanism import RunUsers, Sandbox, choose_sandbox, start_test
from mycelos.sandbox.plan import Mechanism, RunModule
from mycelos.sandbox.profiles import AGENT, TOOLS, SandboxProfile
from mycelos.sandbox.status import check_status, encode_refusal
from mycelos.sandbox.workspace import open_workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

OPEN_UNDER_LANDLOCK: Final = frozenset({"status-outside"})
"""Landlock does not cover stat(2): without namespaces a run learns that a file exists, and its size."""
PROGRAMS_OPEN_UNDER_LANDLOCK: Final = OPEN_UNDER_LANDLOCK | {"enter-outside"}
"""Nor chdir(2), which programs need for folders of their own: they learn that a folder exists."""
PROBED_PROFILES: Final = {"agent": AGENT, "tools": TOOLS}

_ANSWER_SECONDS: Final = 30.0
_CONTAINER_ENGINE: Final = "/var/run/docker.sock"


class ProbeResult(msgspec.Struct, frozen=True):
    """One attack and what came of it. ``as_promised`` is False where a wall did not hold that should."""

    name: str
    sentence: str
    held: bool
    as_promised: bool
    detail: str


class ProbeReport(msgspec.Struct, frozen=True):
    """All attacks on one kind of process."""

    profile: str
    mechanism: str
    passed_over: str
    results: tuple[ProbeResult, ...]

    @property
    def holds(self) -> bool:
        """Whether every wall held that was promised."""
        return all(result.as_promised for result in self.results)


def run_probes(profile: SandboxProfile = AGENT) -> ProbeReport:
    """Choose the sandbox as the spawner does and attack it from inside a process of the profile.

    Raises:
        SandboxRefused: no sandbox can be made here.
    """
    sandbox = choose_sandbox(start_test)
    return probe_sandbox(sandbox, profile)


def self_test(sandbox: Sandbox) -> None:
    """The spawner's test at its start.

    Raises:
        SandboxRefused: the sandbox does not start, or a wall of it does not hold.
    """
    failed = [result.name for result in probe_sandbox(sandbox).results if not result.as_promised]
    if failed:
        raise SandboxRefused(
            Layer.LANDLOCK if sandbox.mechanism is Mechanism.LANDLOCK else Layer.SECCOMP,
            f"attacks from inside succeeded: {', '.join(failed)}",
            "Do not run agents on this machine; report this with the output of: mycelos sandbox probe",
        )


def probe_sandbox(sandbox: Sandbox, profile: SandboxProfile = AGENT) -> ProbeReport:
    """Attack from inside a process of the profile."""
    user = RunUsers().take()
    has_programs = profile.has_programs
    attacks = TOOLS_ATTACKS if has_programs else AGENT_ATTACKS
    promised_open = frozenset[str]()
    if sandbox.mechanism is Mechanism.LANDLOCK:
        promised_open = PROGRAMS_OPEN_UNDER_LANDLOCK if has_programs else OPEN_UNDER_LANDLOCK
    with _targets() as targets, tempfile.TemporaryDirectory(prefix="mycelos-probe-") as folder:
        workspace = open_workspace(Path(folder), user)
        plan = sandbox.plan(profile, workspace.place, RunModule("mycelos.sandbox.attacks"), user)
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                confined = process.start(plan, channel=theirs.fileno(), workspace=workspace.descriptor)
            workspace.close()
            try:
                confined.wait_armed()
                outcomes = _converse(ours, Order(tuple(attack.name for attack in attacks), targets), confined)
            finally:
                confined.end()
                confined.close()
    return _report(
        profile.name,
        mechanism=sandbox.mechanism.value,
        passed_over=sandbox.passed_over,
        attacks=attacks,
        outcomes=outcomes,
        promised_open=promised_open,
    )


def gateway_probes(data_directory: Path) -> ProbeReport:
    """Attack from a forked child that is confined like the gateway.

    Raises:
        SandboxRefused: the child could not be confined.
    """
    layout = DataLayout(data_directory)
    kept = (layout.master_key, layout.vault, layout.ledger, layout.operator_token, layout.proxy_token)
    with _targets() as base:
        targets = msgspec.structs.replace(
            base,
            forbidden_files=(*(str(path) for path in kept if path.exists()), base.secret_file),
            forbidden_sockets=(str(layout.operator_socket), _CONTAINER_ENGINE, base.unix_path),
        )
        outcomes = _in_confined_child(data_directory, targets)
    return _report(
        "gateway",
        mechanism="landlock",
        passed_over="",
        attacks=GATEWAY_ATTACKS,
        outcomes=outcomes,
        promised_open=frozenset(),
    )


def _in_confined_child(data_directory: Path, targets: Targets) -> list[Outcome]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        try:
            # What it makes of its own is below the one folder that it may write.
            os.chdir(DataLayout(data_directory).gateway)
            confine_gateway(data_directory, [writer])
            answer = msgspec.json.encode(attempt_all(GATEWAY_ATTACKS, targets))
            os.write(writer, answer)
        except SandboxRefused as refusal:
            os.write(writer, encode_refusal(refusal))
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    died = SandboxRefused(Layer.LANDLOCK, "the confined child died", "Run: mycelos doctor")
    try:
        return msgspec.json.decode(answer, type=list[Outcome])
    except msgspec.DecodeError:
        check_status(answer, died)
        raise died from None


def _converse(ours: socket.socket, order: Order, confined: process.ConfinedProcess) -> list[Outcome]:
    text = msgspec.json.encode(order)
    ours.sendall(struct.pack("!I", len(text)) + text)
    answer = bytearray()
    while True:
        ready, _, _ = select.select([ours], [], [], _ANSWER_SECONDS)
        data = ours.recv(65536) if ready else b""
        if not data:
            break
        answer += data
    try:
        return msgspec.json.decode(bytes(answer), type=list[Outcome])
    except msgspec.DecodeError:
        confined.end()
        raise SandboxRefused(
            Layer.SECCOMP, f"the probe died inside: {confined.died().cause}", "Report this with: mycelos doctor"
        ) from None


def _report(
    profile: str,
    *,
    mechanism: str,
    passed_over: str,
    attacks: tuple[Attack, ...],
    outcomes: list[Outcome],
    promised_open: frozenset[str],
) -> ProbeReport:
    sentences = {attack.name: attack.sentence for attack in attacks}
    if [outcome.name for outcome in outcomes] != list(sentences):
        raise SandboxRefused(Layer.SECCOMP, "the probe did not answer for each attack", "Run it again")
    results = tuple(
        ProbeResult(o.name, sentences[o.name], o.held, o.held or o.name in promised_open, o.detail) for o in outcomes
    )
    return ProbeReport(profile, mechanism, passed_over, results)


@contextmanager
def _targets() -> Iterator[Targets]:
    """Things of our own that an unconfined process of any user reaches: listeners, files, this process."""
    with (
        tempfile.TemporaryDirectory(prefix="mycelos-outside-") as folder,
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        outside = Path(folder)
        outside.chmod(0o777)
        for name in ("plain", "secret"):
            (outside / name).write_text("outside", encoding="ascii")
            (outside / name).chmod(0o666)
        udp.bind(("127.0.0.1", 0))
        by_path.bind(str(outside / "listener.sock"))
        (outside / "listener.sock").chmod(0o777)
        by_path.listen()
        name = f"mycelos-probe-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        memory = ctypes.create_string_buffer(b"in memory")
        left_open = os.dup2(tcp.fileno(), 100 + os.getpid() % 100, inheritable=True)
        os.environ["MYCELOS_TEST_PROBE"] = "of the starter"
        try:
            yield Targets(
                secret_file=str(outside / "secret"),
                outside_directory=folder,
                tcp_port=tcp.getsockname()[1],
                udp_port=udp.getsockname()[1],
                unix_path=str(outside / "listener.sock"),
                abstract_name=name,
                process=os.getpid(),
                memory_address=ctypes.addressof(memory),
                descriptor=left_open,
                environment_name="MYCELOS_TEST_PROBE",
            )
        finally:
            del os.environ["MYCELOS_TEST_PROBE"]
            os.close(left_open)
