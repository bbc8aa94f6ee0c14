from __future__ import annotations

import os
import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest
from sandbox_machine import as_ordinary_user

from mycelos.operator.client import OperatorUnavailableError
from mycelos.prove import keeper
from mycelos.prove.outcome import CannotShowError
from mycelos.prove.twin import Twin
from mycelos.wire.problems import Refusal

HARDENED = """
import ctypes, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
"""
NOBODY = 65534


@contextmanager
def running(program):
    """A process of an ordinary user that did this and waits."""
    with subprocess.Popen(
        as_ordinary_user([sys.executable, "-I", "-c", f"{program}\nprint('ready', flush=True)\ninput()"], NOBODY),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
        process.communicate(b"\n")


def held(findings):
    return {finding.tried: finding.held for finding in findings}


CORE = "have the kernel write the proxy's memory down when it crashes"
READ = "read the proxy's memory as another program of its user"


def test_a_process_that_is_hardened_holds():
    with running(HARDENED) as pid:
        assert held(keeper.memory(pid)) == {CORE: True, READ: True}


def test_a_process_that_is_dumpable_or_may_dump_its_core_is_found():
    with running("import resource\nresource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))") as pid:
        assert held(keeper.memory(pid)) == {CORE: False, READ: False}


@pytest.mark.skipif(os.geteuid() != 0, reason="says what cannot be told of a process of root")
def test_of_a_process_of_root_it_is_said_what_cannot_be_told():
    (finding,) = keeper.memory(os.getpid())
    assert "cannot be told" in finding.happened
    assert finding.held == (resource.getrlimit(resource.RLIMIT_CORE) == (0, 0))


def test_a_process_that_has_gone_shows_nothing():
    with pytest.raises(CannotShowError, match="ended"):
        list(keeper.memory(2**22 + 1))


def test_the_door_of_a_proxy_as_it_is_opens_for_nothing_but_its_token():
    with Twin(1) as twin:
        twin.layout.proxy_token.write_text(twin.bearer)
        findings = keeper.operator_door(twin.layout)
    assert [finding.happened for finding in findings] == ["status 401"] * 4
    assert findings[-1].tried == "open the operator's door with the gateway's bearer"


def test_a_door_that_its_operator_cannot_open_shows_nothing(layout):
    with pytest.raises(OperatorUnavailableError):
        keeper.operator_door(layout)
    with Twin(1) as twin:
        twin.layout.operator_token.write_text("x" * 43)
        with pytest.raises(Refusal):
            keeper.operator_door(twin.layout)


def test_a_private_file_that_others_can_open_is_named_with_the_fix(layout):
    layout.proxy.mkdir(mode=0o700)
    layout.operator_token.touch(0o600)
    assert keeper.private_files(layout).held
    layout.operator_token.chmod(0o644)
    finding = keeper.private_files(layout)
    assert not finding.held
    assert finding.happened.endswith(f"mend it with: chmod 600 {layout.operator_token}")
