"""A plan of a made-up machine."""

from __future__ import annotations

from mycelos.sandbox.installation import Installation
from mycelos.sandbox.landlock import handled_by
from mycelos.sandbox.plan import Mechanism, RunModule, SandboxPlan, Workspace, build_plan
from mycelos.sandbox.profiles import SandboxProfile

INSTALLATION = Installation("/env/bin/python", ("/env", "/usr/lib"), ("/usr",), (("/lib", "usr/lib"),))
WORKSPACE = Workspace("/data/gateway/workspaces/run_x", 1, 2, 0)


def plan_of(profile: SandboxProfile, mechanism: Mechanism, user: int | None = None) -> SandboxPlan:
    return build_plan(
        profile=profile,
        filter_program=b"filter",
        mechanism=mechanism,
        handled=handled_by(7),
        installation=INSTALLATION,
        workspace=WORKSPACE,
        program=RunModule("mycelos.runner"),
        user=user,
    )
