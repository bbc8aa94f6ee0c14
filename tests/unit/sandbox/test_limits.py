import resource

import pytest

from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.limits import apply_limits


def test_limits_are_set_soft_and_hard_and_never_raised(in_child) -> None:
    def apply() -> object:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
        apply_limits({"NOFILE": 5000, "CORE": 0, "AS": 1 << 33})
        return [resource.getrlimit(kind) for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_AS)]

    assert in_child(apply) == str([(200, 200), (0, 0), (1 << 33, 1 << 33)])


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(SandboxRefused) as refused:
        apply_limits({"NOTHING": 1})
    assert refused.value.layer is Layer.RESOURCE_LIMITS
