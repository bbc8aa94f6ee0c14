import os
import stat
import sys
from pathlib import Path

import pytest

import mycelos
from mycelos.sandbox.errors import Layer, SandboxRefused
from mycelos.sandbox.identity import RUN_USERS
from mycelos.sandbox.workspace import open_run_workspace, open_workspace

RUN = "run_01h2xcejqtf2nbrexx3vqjhp41"
USER = RUN_USERS[3] if os.geteuid() == 0 else None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "gateway").mkdir()
    return tmp_path


def test_a_run_gets_a_folder_of_its_own(data: Path) -> None:
    opened = open_run_workspace(data, RUN, USER)
    found = (data / "gateway" / "workspaces" / RUN).stat()
    opened.close()
    assert (opened.place.device, opened.place.inode) == (found.st_dev, found.st_ino)
    if USER is None:
        assert stat.S_IMODE(found.st_mode) == 0o700
    else:
        assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (USER, os.getgid(), 0o2770)


def test_a_run_that_goes_on_finds_its_folder_again(data: Path) -> None:
    first = open_run_workspace(data, RUN, USER)
    second = open_run_workspace(data, RUN, USER)
    assert first.place == second.place
    first.close()
    second.close()


@pytest.mark.parametrize("planted", ["gateway/workspaces", f"gateway/workspaces/{RUN}"])
def test_a_link_in_the_way_is_refused(data: Path, tmp_path: Path, planted: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (data / planted).parent.mkdir(parents=True, exist_ok=True)
    (data / planted).symlink_to(elsewhere)
    before = elsewhere.stat()
    with pytest.raises(SandboxRefused) as refused:
        open_run_workspace(data, RUN, USER)
    assert refused.value.layer is Layer.WORKSPACE
    assert (elsewhere.stat().st_uid, elsewhere.stat().st_mode) == (before.st_uid, before.st_mode)


def test_a_missing_gateway_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SandboxRefused, match="workspaces"):
        open_run_workspace(tmp_path, RUN, USER)


def test_a_lent_folder_is_given_back_as_it_was(tmp_path: Path) -> None:
    tmp_path.chmod(0o751)
    before = tmp_path.stat()
    opened = open_workspace(tmp_path, USER)
    assert tmp_path.stat().st_uid == (USER if USER is not None else before.st_uid)
    opened.give_back()
    opened.close()
    assert (tmp_path.stat().st_uid, tmp_path.stat().st_mode) == (before.st_uid, before.st_mode)


def test_a_lent_folder_is_no_link_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for name in ("link", "file", "missing"):
        with pytest.raises(SandboxRefused, match="Name a folder"):
            open_workspace(tmp_path / name, None)


def test_no_workspace_holds_programs_or_lies_among_them() -> None:
    for folder in (
        Path("/"),
        Path("/usr/bin"),
        Path(sys.prefix),
        Path(sys.prefix).parent,
        Path(mycelos.__file__).parent,
    ):
        before = folder.stat()
        with pytest.raises(SandboxRefused, match="programs that run outside"):
            open_workspace(folder, USER)
        assert (folder.stat().st_uid, folder.stat().st_mode) == (before.st_uid, before.st_mode)


def test_no_workspace_lies_in_a_data_folder(tmp_path: Path) -> None:
    inner = tmp_path / "gateway"
    inner.mkdir()
    (tmp_path / ".master_key").touch()
    for folder in (tmp_path, inner):
        with pytest.raises(SandboxRefused, match="data folder"):
            open_workspace(folder, USER)


def test_no_workspace_lies_above_or_below_the_data_folder_that_was_named(tmp_path: Path) -> None:
    data = tmp_path / "above" / "data"
    inner = data / "gateway"
    beside = tmp_path / "beside"
    for folder in (inner, beside):
        folder.mkdir(parents=True)
    for folder in (data.parent, data, inner):
        with pytest.raises(SandboxRefused, match="data folder of Mycelos"):
            open_workspace(folder, None, data)
    open_workspace(beside, None, data).close()
    open_workspace(data.parent, None, data / "not-there-yet").close()


@pytest.mark.skipif(USER is None, reason="only root lends a folder to another user")
def test_what_others_use_is_not_lent(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    for folder in (tmp_path, Path("/home")):
        with pytest.raises(SandboxRefused, match="other users"):
            open_workspace(folder, USER)
