import msgspec
import pytest
from sandbox_plans import WORKSPACE, plan_of

from mycelos.sandbox.landlock import READ, FileAccess
from mycelos.sandbox.plan import WORKSPACE_TARGET, Execute, Mechanism, MountKind, SandboxPlan
from mycelos.sandbox.profiles import AGENT, AGENT_COMMAND, COMMAND_PROFILES, TOOLS


def test_an_agent_writes_its_workspace_and_nothing_else_of_the_machine() -> None:
    plan = plan_of(AGENT, Mechanism.BUBBLEWRAP)
    writable = [mount for mount in plan.mounts if mount.kind is MountKind.WRITE]
    assert [(mount.source, mount.target) for mount in writable] == [(WORKSPACE.path, WORKSPACE_TARGET)]
    beyond_reading = {rule.path for rule in plan.rules if rule.access & ~int(READ)}
    assert beyond_reading == {"/dev/null", "/tmp"}
    assert (plan.workspace.path, plan.workspace.device, plan.workspace.inode) == (WORKSPACE_TARGET, 1, 2)


@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_an_agent_executes_nothing_and_sees_no_processes(mechanism: Mechanism) -> None:
    plan = plan_of(AGENT, mechanism)
    assert not any(rule.access & FileAccess.EXECUTE for rule in plan.rules)
    assert not plan.workspace.access & (FileAccess.EXECUTE | FileAccess.MAKE_SYMBOLIC_LINK | FileAccess.MAKE_SOCKET)
    assert not any(mount.kind is MountKind.PROCESSES for mount in plan.mounts)
    assert not any(rule.path.startswith("/proc") for rule in plan.rules)
    assert plan.limits["NPROC"] == 1
    assert plan.limits["CORE"] == 0


def test_without_namespaces_there_are_no_mounts_and_no_shared_temporary_folder() -> None:
    plan = plan_of(AGENT, Mechanism.LANDLOCK)
    assert plan.mounts == ()
    assert "/tmp" not in {rule.path for rule in plan.rules}
    assert plan.environment["TMPDIR"] == plan.environment["HOME"] == WORKSPACE.path


def test_everything_that_the_kernel_knows_is_handled_and_both_scopes_are_closed() -> None:
    plan = plan_of(AGENT, Mechanism.LANDLOCK)
    assert (plan.handled_files, plan.handled_network, plan.scopes) == ((1 << 16) - 1, 0b11, 0b11)


def test_the_environment_is_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYCELOS_TEST_SECRET", "x")
    assert set(plan_of(TOOLS, Mechanism.BUBBLEWRAP).environment) == {"HOME", "LANG", "PATH", "TMPDIR"}


def test_programs_are_read_and_executed_only_by_profiles_that_have_them() -> None:
    for profile in (AGENT_COMMAND, TOOLS):
        rules = {rule.path: rule.access for rule in plan_of(profile, Mechanism.BUBBLEWRAP).rules}
        assert rules["/usr"] & FileAccess.EXECUTE
    assert set(COMMAND_PROFILES) == {"agent", "tools"}


def test_a_link_of_the_system_stays_a_link() -> None:
    links = [mount for mount in plan_of(AGENT, Mechanism.BUBBLEWRAP).mounts if mount.kind is MountKind.LINK]
    assert [(link.source, link.target) for link in links] == [("usr/lib", "/lib")]


def test_a_plan_survives_its_journey_and_an_unknown_field_does_not() -> None:
    plan = msgspec.structs.replace(plan_of(AGENT, Mechanism.BUBBLEWRAP, 7), program=Execute(("true",)))
    data = msgspec.json.encode(plan)
    assert msgspec.json.decode(data, type=SandboxPlan) == plan
    with pytest.raises(msgspec.ValidationError, match="extra"):
        msgspec.json.decode(data[:-1] + b',"extra":1}', type=SandboxPlan)
