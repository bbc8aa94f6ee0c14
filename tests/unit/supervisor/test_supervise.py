from __future__ import annotations

import json
import os
import signal

import pytest

from mycelos.supervisor import restarts
from mycelos.supervisor.processes import ChildPlan, Role
from mycelos.supervisor.supervise import Supervisor

pytestmark = pytest.mark.usefixtures("_bounded")

PRELUDE = """
import os, pathlib, signal, sys, time
notes, name = pathlib.Path(sys.argv[1]), sys.argv[2]
ready_fd = int(sys.argv[sys.argv.index("--ready-fd") + 1])
def ready(): os.write(ready_fd, b"ready\\n"); os.close(ready_fd)
def note(text):
    with notes.open("a") as stream: stream.write(text + "\\n")
def stop(*_): note("stopped " + name); os._exit(0)
def serve():
    signal.signal(signal.SIGTERM, stop)
    ready()
    while True: signal.pause()
"""


@pytest.fixture
def _bounded():
    """A supervisor that never ends ends the test, with a signal that it does not handle."""
    signal.alarm(60)
    yield
    signal.alarm(0)


class Stage:
    """A supervisor over stand-in children, with what it has said."""

    def __init__(self, folder):
        self.notes = folder / "notes"
        self.notes.touch()
        self.logged = []
        self.published = []
        self.announced = 0
        self.stop_when = lambda children: False
        self.stop_on_announce = True

    def run(self, scripts, after=None, spared=(), **options):
        plans = [
            ChildPlan(
                role,
                ("-c", PRELUDE + script),
                (str(self.notes), role.value),
                (),
                {"LANG": "C.UTF-8"},
                (after or {}).get(role),
                role in spared,
            )
            for role, script in scripts.items()
        ]
        self.supervisor = Supervisor(plans, log=self._log, publish=self._publish, announce=self._announce, **options)
        return self.supervisor.run()

    @property
    def noted(self):
        return self.notes.read_text().splitlines()

    def events(self, name):
        return [fields for event, fields in self.logged if event == name]

    def _log(self, event, **fields):
        json.dumps(fields)
        self.logged.append((event, fields))

    def _publish(self, children):
        self.published.append(children)
        if self.stop_when(children):
            os.kill(os.getpid(), signal.SIGTERM)

    def _announce(self):
        self.announced += 1
        if self.stop_on_announce:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


def test_when_all_serve_it_is_announced_once_and_a_signal_ends_it_in_order(stage):
    assert stage.run(dict.fromkeys(Role, "serve()")) == 0
    assert stage.announced == 1
    assert set(stage.noted[:2]) == {"stopped gateway", "stopped operator"}
    assert stage.noted[2:] == ["stopped spawner", "stopped proxy"]
    assert all(child.pid is None for child in stage.published[-1])


def test_children_are_started_together_before_any_is_ready(stage):
    stage.run(dict.fromkeys(Role, "serve()"))
    events = [event for event, _ in stage.logged]
    assert events[:4] == ["child.started"] * 4


def test_a_killed_child_is_started_again_and_serves(stage):
    stage.stop_on_announce = False

    def kill_once_then_stop(children):
        (child,) = children
        if child.ready and child.restarts == 0:
            os.kill(child.pid, signal.SIGKILL)
        return child.ready and child.restarts == 1

    stage.stop_when = kill_once_then_stop
    assert stage.run({Role.GATEWAY: "serve()"}) == 0
    assert stage.announced == 1
    assert [fields["exit_code"] for fields in stage.events("child.ended")] == [-9]
    assert stage.noted == ["stopped gateway"]


def test_a_child_that_refuses_to_start_ends_the_system_with_its_exit_code(stage):
    assert stage.run({Role.PROXY: "serve()", Role.SPAWNER: "sys.exit(3)"}) == 3
    assert stage.announced == 0
    assert len(stage.events("child.started")) == 2


def test_its_last_words_are_the_reason_that_a_person_reads(stage):
    script = "os.write(2, b'INFO begun\\nno vault; restore it\\n\\n'); sys.exit(1)"
    assert stage.run({Role.PROXY: script}) == 1
    assert stage.supervisor.failure == "proxy did not start: no vault; restore it"


def test_one_that_said_nothing_is_named_all_the_same(stage):
    stage.run({Role.PROXY: "sys.exit(1)"})
    assert stage.supervisor.failure.startswith("proxy did not start: it said nothing")


def test_an_end_by_a_signal_has_no_reason_to_tell(stage):
    stage.run({Role.PROXY: "print('something'); serve()"})
    assert stage.supervisor.failure == ""


def test_a_child_that_dies_by_a_signal_before_it_serves_is_a_failure(stage):
    assert stage.run({Role.PROXY: "os.kill(os.getpid(), 9)"}) == 1


def test_a_child_that_keeps_failing_ends_the_system(stage, monkeypatch):
    monkeypatch.setattr(restarts, "MOST_FAILURES", 3)
    stage.stop_on_announce = False
    assert stage.run({Role.PROXY: "serve()", Role.GATEWAY: "ready(); sys.exit(1)"}) == 1
    assert len([each for each in stage.events("child.started") if each["child"] == "gateway"]) == 3
    assert stage.events("supervisor.gave_up") == [{"child": "gateway", "failures": 3}]
    assert stage.noted == ["stopped proxy"]


def test_a_child_that_never_says_ready_is_killed_at_the_deadline(stage):
    assert stage.run({Role.PROXY: "signal.pause()"}, ready_deadline=0.3) == 1
    assert stage.events("child.not_ready") == [{"child": "proxy", "seconds": 0.3}]


@pytest.mark.parametrize(
    "said", ["ready?", "ready?\\n", "busy\\nreay\\n", "busy" * 20, "ready\\nready\\n", "ready\\nbu"]
)
def test_another_word_than_ready_is_not_readiness(stage, said):
    assert stage.run({Role.PROXY: f"os.write(ready_fd, b'{said}'); signal.pause()"}, ready_deadline=0.3) == 1
    assert stage.announced == 0


def test_a_child_that_goes_on_to_say_that_it_is_busy_has_its_time(stage):
    script = "[(time.sleep(0.5), os.write(ready_fd, b'busy\\n')) for _ in range(5)]; serve()"
    assert stage.run({Role.PROXY: script}, ready_deadline=1.5) == 0
    assert stage.announced == 1
    assert stage.events("child.not_ready") == []
    assert stage.events("child.busy") == [{"child": "proxy"}]
    assert stage.events("child.ready")[0]["milliseconds"] >= 2500


def test_who_waits_for_a_busy_child_has_its_time_too(stage):
    busy = "[(time.sleep(0.5), os.write(ready_fd, b'busy\\n')) for _ in range(5)]; serve()"
    waiting = "time.sleep(2.8); serve()"
    stage.run({Role.PROXY: busy, Role.GATEWAY: waiting}, ready_deadline=1.5)
    assert not stage.events("child.not_ready")


def test_a_gateway_that_says_that_it_is_busy_holds_nothing_up(stage):
    busy = "[(time.sleep(0.1), os.write(ready_fd, b'busy\\n')) for _ in range(100)]; serve()"
    stage.run({Role.PROXY: "serve()", Role.GATEWAY: busy}, ready_deadline=1.5)
    assert {"child": "gateway", "seconds": 1.5} in stage.events("child.not_ready")
    assert stage.events("child.busy") == []


def test_a_child_that_was_busy_and_then_says_nothing_is_killed_at_the_deadline(stage):
    assert stage.run({Role.PROXY: "os.write(ready_fd, b'busy\\n' * 2); signal.pause()"}, ready_deadline=0.3) == 1
    assert stage.events("child.not_ready") == [{"child": "proxy", "seconds": 0.3}]


def test_a_child_that_ignores_the_signal_is_killed(stage):
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); ready(); signal.pause()"
    assert stage.run({Role.GATEWAY: script}, stop_deadline=0.3) == 0
    assert [each["child"] for each in stage.events("child.killed")] == ["gateway"]


def test_a_terminal_that_closes_does_not_end_it(stage):
    stage.stop_on_announce = False

    def hang_up_then_stop(children):
        if children[0].ready:
            os.kill(os.getpid(), signal.SIGHUP)
            return True
        return False

    stage.stop_when = hang_up_then_stop
    assert stage.run({Role.PROXY: "serve()"}) == 0
    assert stage.events("supervisor.stopping") == [{"signal": "SIGTERM"}]


def test_a_child_gets_the_environment_of_its_plan_and_no_descriptor_beyond_its_own(stage, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/secret")
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    script = """
note(repr(dict(os.environ)))
held = {int(number) for number in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + number)}
note(str(held == {0, 1, 2, ready_fd}))
note(str(os.getsid(0) == os.getpid()))
serve()
"""
    try:
        assert stage.run({Role.SPAWNER: script}) == 0
    finally:
        os.close(leaked)
    assert stage.noted[:3] == ["{'LANG': 'C.UTF-8'}", "True", "True"]


def test_a_child_that_follows_another_starts_when_that_one_is_ready(stage):
    assert stage.run({Role.OPERATOR: "serve()", Role.PROXY: "serve()"}, after={Role.OPERATOR: Role.PROXY}) == 0
    events = [(event, fields["child"]) for event, fields in stage.logged if event in {"child.started", "child.ready"}]
    assert events == [
        ("child.started", "proxy"),
        ("child.ready", "proxy"),
        ("child.started", "operator"),
        ("child.ready", "operator"),
    ]


def test_a_child_that_follows_another_is_started_again_after_it_and_not_counted_as_failing(stage):
    stage.stop_on_announce = False

    def kill_the_leader_then_stop(children):
        follower, leader = children
        if follower.ready and leader.ready and leader.restarts == 0:
            os.kill(leader.pid, signal.SIGKILL)
        return follower.ready and leader.ready and (follower.restarts, leader.restarts) == (1, 1)

    stage.stop_when = kill_the_leader_then_stop
    assert stage.run({Role.OPERATOR: "serve()", Role.PROXY: "serve()"}, after={Role.OPERATOR: Role.PROXY}) == 0
    assert [each["child"] for each in stage.events("child.ended")] == ["proxy"]


def test_a_child_that_follows_another_and_crashes_while_that_one_is_down_waits_for_it(stage):
    stage.stop_on_announce = False

    def kill_both_then_stop(children):
        follower, leader = children
        if follower.ready and leader.ready and leader.restarts == 0:
            os.kill(leader.pid, signal.SIGKILL)
            os.kill(follower.pid, signal.SIGKILL)
        return follower.ready and leader.ready and leader.restarts == 1

    stage.stop_when = kill_both_then_stop
    assert stage.run({Role.OPERATOR: "serve()", Role.PROXY: "serve()"}, after={Role.OPERATOR: Role.PROXY}) == 0
    ready = [each["child"] for each in stage.events("child.ready")]
    assert ready[-2:] == ["proxy", "operator"]


def test_the_handlers_of_the_caller_are_restored(stage):
    before = signal.getsignal(signal.SIGTERM)
    stage.run({Role.PROXY: "serve()"})
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.parametrize("end", ["sys.exit(1)", "sys.exit(2)", "os.kill(os.getpid(), 9)"])
def test_a_spared_child_that_does_not_start_leaves_the_others_alone(stage, end):
    scripts = {Role.PROXY: "serve()", Role.OPERATOR: "serve()", Role.GATEWAY: end}
    assert stage.run(scripts, spared={Role.GATEWAY}) == 0
    assert stage.announced == 1
    assert stage.events("child.given_up") == [{"child": "gateway", "failures": 1}]
    assert len([each for each in stage.events("child.started") if each["child"] == "gateway"]) == 1
    assert set(stage.noted) == {"stopped operator", "stopped proxy"}


def test_a_spared_child_that_finds_a_wall_missing_ends_the_system(stage):
    assert stage.run({Role.PROXY: "serve()", Role.GATEWAY: "sys.exit(3)"}, spared={Role.GATEWAY}) == 3
    assert stage.announced == 0


def test_a_spared_child_that_keeps_failing_is_given_up_alone(stage, monkeypatch):
    monkeypatch.setattr(restarts, "MOST_FAILURES", 3)
    stage.stop_on_announce = False

    def given_up(_children):
        return bool(stage.events("child.given_up"))

    stage.stop_when = given_up
    scripts = {Role.PROXY: "serve()", Role.GATEWAY: "ready(); sys.exit(1)"}
    assert stage.run(scripts, spared={Role.GATEWAY}) == 0
    assert stage.events("child.given_up") == [{"child": "gateway", "failures": 3}]
    assert stage.events("supervisor.gave_up") == []
    assert stage.noted == ["stopped proxy"]


def test_a_child_that_floods_is_cut_off_and_told_of(stage):
    script = "import sys\nfor _ in range(400): sys.stdout.write(chr(0) * 4000 + chr(10))\nsys.stdout.flush()\nserve()"
    assert stage.run({Role.GATEWAY: script}) == 0
    said = sum(len(json.dumps(fields["line"])) for fields in stage.events("child.said"))
    assert said <= 128 * 1024
    assert sum(each["bytes"] for each in stage.events("child.dropped")) > 400 * 4000 - said
