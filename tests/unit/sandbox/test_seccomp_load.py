import pytest

from mycelos.sandbox import kernel
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.seccomp_load import load_filter


def test_a_program_that_the_kernel_refuses_is_a_refusal(in_child) -> None:
    def load() -> str:
        kernel.set_no_new_privileges()
        with pytest.raises(SandboxRefused) as refused:
            load_filter(b"\0" * 7)
        assert refused.value.layer is Layer.SECCOMP
        return refused.value.cause

    assert "did not take the filter" in in_child(load)


def test_a_program_that_allows_all_is_loaded_for_every_thread(in_child) -> None:
    allow = bytes.fromhex("060000000000ff7f")

    def load() -> str:
        kernel.set_no_new_privileges()
        load_filter(allow, all_threads=True)
        return open("/proc/self/status").read().split("Seccomp:")[1].split()[0]

    assert in_child(load) == "2"
