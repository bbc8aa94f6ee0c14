"""Attacks a sandbox from which walls are taken away, and prints the names of what was then open, as JSON.

`python sandbox_attack.py MECHANISM PROFILE [WALL…]`; the walls are `landlock` and `seccomp`, `strict-filter` for
the filter that is for processes without namespaces, and `all` for no sandbox at all.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

import msgspec
import seccompy

from mycelos.sandbox import probe
from mycelos.sandbox.attacks import AGENT_ATTACKS
from mycelos.sandbox.attempt import Outcome, attempt_all
from mycelos.sandbox.installation import find_installation
from mycelos.sandbox.landlock import ABI_WITH_TRUNCATE, require_abi
from mycelos.sandbox.mechanism import Sandbox
from mycelos.sandbox.plan import Mechanism, PathRule, SandboxPlan
from mycelos.sandbox.profiles import SandboxProfile
from mycelos.sandbox.seccomp import compile_filter


class WeakSandbox(Sandbox):
    removed: frozenset[str] = frozenset()

    def plan(self, profile: SandboxProfile, *arguments: Any) -> SandboxPlan:
        plan = super().plan(profile, *arguments)
        if "strict-filter" in self.removed:
            weaker = compile_filter(profile.filter_kind, has_own_group=plan.user is not None, has_namespaces=True)
            plan = msgspec.structs.replace(plan, filter_program=weaker)
        if "seccomp" in self.removed:
            plan = msgspec.structs.replace(plan, filter_program=seccompy.Filter().program)
        if "landlock" in self.removed:
            everything = PathRule("/", plan.handled_files)
            plan = msgspec.structs.replace(plan, rules=(everything,), handled_network=0, scopes=0)
        return plan


def open_attacks(mechanism: str, profile: str, removed: frozenset[str]) -> list[str]:
    if "all" in removed:
        return unconfined()
    WeakSandbox.removed = removed
    sandbox = WeakSandbox(Mechanism(mechanism), require_abi(ABI_WITH_TRUNCATE), find_installation(), "")
    return [
        result.name
        for result in probe.probe_sandbox(sandbox, probe.PROBED_PROFILES[profile]).results
        if not result.held
    ]


def unconfined() -> list[str]:
    """The control: a child without any wall attacks its parent."""
    reader, writer = os.pipe()
    with probe._targets() as targets, tempfile.TemporaryDirectory() as folder:
        child = os.fork()
        if child == 0:
            os.chdir(folder)
            os.write(writer, msgspec.json.encode(attempt_all(AGENT_ATTACKS, targets)))
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            outcomes = msgspec.json.decode(stream.read(), type=list[Outcome])
        os.waitpid(child, 0)
    return [outcome.name for outcome in outcomes if not outcome.held]


if __name__ == "__main__":
    print(json.dumps(open_attacks(sys.argv[1], sys.argv[2], frozenset(sys.argv[3:]))))
