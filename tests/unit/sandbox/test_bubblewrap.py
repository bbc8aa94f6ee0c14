import shutil

import pytest
from sandbox_plans import plan_of

from mycelos.sandbox import bubblewrap
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.plan import Mechanism
from mycelos.sandbox.profiles import AGENT, TOOLS


def arguments(user: int | None, profile=AGENT) -> list[str]:
    plan = plan_of(profile, Mechanism.BUBBLEWRAP, user)
    return bubblewrap.bubblewrap_arguments(plan, "/usr/bin/bwrap", ["python"])


def test_every_namespace_is_made_and_nothing_is_shared_or_tried() -> None:
    found = arguments(None)
    for name in ("user", "ipc", "pid", "net", "uts", "cgroup"):
        assert f"--unshare-{name}" in found
    assert "--die-with-parent" in found
    assert "--new-session" in found
    assert not any(word.endswith("-try") or word == "--share-net" for word in found)
    assert found[-2:] == ["--", "python"]


def test_root_keeps_the_right_to_change_its_user_and_no_other() -> None:
    found = arguments(1 << 30)
    assert "--unshare-user" not in found
    given = [found[index + 1] for index, word in enumerate(found) if word == "--cap-add"]
    assert given == ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]
    assert "--cap-add" not in arguments(None)
    assert found[found.index("--cap-drop") + 1] == "ALL"


def test_folders_on_the_way_can_be_entered_and_the_root_is_read_only() -> None:
    found = arguments(None)
    assert ["--perms", "0755", "--dir", "/dev"] in [found[index : index + 4] for index in range(len(found))]
    assert found.index("--remount-ro") > found.index("--bind")


def test_processes_are_shown_to_tools_only() -> None:
    assert "--proc" not in arguments(None)
    assert "--proc" in arguments(None, TOOLS)


def test_a_missing_bubblewrap_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path: None)
    with pytest.raises(SandboxRefused, match="apt-get install bubblewrap") as refused:
        bubblewrap.find_bubblewrap()
    assert refused.value.layer is Layer.BUBBLEWRAP


def test_the_callers_path_is_not_asked(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not bubblewrap.find_bubblewrap().startswith(str(tmp_path))


def test_the_temporary_folder_comes_first_so_that_it_hides_no_installation_below_it() -> None:
    found = arguments(None)
    first = min(found.index(word) for word in ("--dir", "--ro-bind", "--bind", "--dev-bind"))
    assert found.index("--tmpfs") < first
    assert found.count("--tmpfs") == 1
