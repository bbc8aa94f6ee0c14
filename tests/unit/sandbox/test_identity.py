import os
from pathlib import Path

import pytest

from mycelos.sandbox import identity, kernel
from mycelos.sandbox.errors import Layer, SandboxRefused


def test_the_range_of_run_users_is_high_and_positive() -> None:
    assert identity.RUN_USERS.start >= 1 << 30
    assert identity.RUN_USERS.stop < 1 << 31


def test_no_capability_is_left(in_child) -> None:
    def drop() -> object:
        identity.drop_capabilities()
        status = Path("/proc/self/status").read_text()
        kinds = ["CapInh", "CapPrm", "CapEff", "CapAmb"] + (["CapBnd"] if os.geteuid() == 0 else [])
        return {status.split(f"{kind}:")[1].split()[0] for kind in kinds}

    assert in_child(drop) == str({"0" * 16})


def test_a_process_without_capabilities_cannot_change_its_user_any_more(in_child) -> None:
    def change() -> str:
        identity.drop_capabilities()
        with pytest.raises(SandboxRefused) as refused:
            identity.become(identity.RUN_USERS[0])
        return refused.value.layer.value

    assert bool(kernel.effective_capabilities()) is (os.geteuid() == 0)
    assert in_child(change) == Layer.IDENTITY.value


def test_a_run_gets_its_user_for_good(in_child) -> None:
    user = identity.RUN_USERS[7]

    def become() -> object:
        identity.drop_bounding_set()
        identity.become(user)
        with pytest.raises(PermissionError):
            os.setresuid(0, 0, 0)
        return os.getresuid(), os.getresgid(), set(os.getgroups()) - {user}

    if os.geteuid() == 0:
        assert in_child(become) == str(((user,) * 3, (user,) * 3, set()))
    else:
        with pytest.raises(SandboxRefused):
            identity.become(user)
