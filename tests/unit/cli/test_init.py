from __future__ import annotations

import base64
import stat

import pytest

from mycelos.configuration.environment import read_environment
from mycelos.configuration.layout import DataLayout
from mycelos.proxy.vault.keys import load_master_key
from mycelos.supervisor.checks import find_proxy_token


def test_it_makes_a_key_and_a_token_that_can_be_used(mycelos, layout: DataLayout) -> None:
    code, out, _ = mycelos("init")
    assert code == 0
    assert "master key: new" in out
    assert len(load_master_key(layout, None)) == 32
    assert find_proxy_token(read_environment({}), layout)
    for path in (layout.master_key, layout.proxy_token):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_time_changes_nothing(mycelos, layout: DataLayout) -> None:
    mycelos("init")
    before = (layout.master_key.read_bytes(), layout.proxy_token.read_bytes())
    code, out, _ = mycelos("init")
    assert code == 0
    assert "new" not in out.replace(str(layout.root), "")
    assert (layout.master_key.read_bytes(), layout.proxy_token.read_bytes()) == before
    assert sorted(path.name for path in layout.root.iterdir()) == [".master_key", ".proxy_token"]


def test_neither_key_nor_token_is_printed(mycelos, layout: DataLayout) -> None:
    _, out, err = mycelos("init")
    for path in (layout.master_key, layout.proxy_token):
        assert path.read_text().strip() not in out + err


def test_a_vault_without_its_key_is_refused_and_gets_no_new_one(mycelos, layout: DataLayout) -> None:
    layout.proxy.mkdir()
    layout.vault.write_bytes(b"something that a lost key made")
    code, _, err = mycelos("init")
    assert code == 1
    assert "another key" in err or "could not open it" in err
    assert not layout.master_key.exists()


def test_a_key_that_others_may_read_is_refused_with_the_fix(mycelos, layout: DataLayout) -> None:
    mycelos("init")
    layout.master_key.chmod(0o644)
    code, _, err = mycelos("init")
    assert code == 1
    assert "chmod 600" in err


def test_a_token_that_others_may_read_is_refused_with_the_fix(mycelos, layout: DataLayout) -> None:
    mycelos("init")
    layout.proxy_token.chmod(0o644)
    code, _, err = mycelos("init")
    assert code == 1
    assert "chmod 600" in err


def test_with_a_key_in_the_environment_none_is_written(mycelos, layout: DataLayout, monkeypatch) -> None:
    monkeypatch.setenv("MYCELOS_MASTER_KEY", base64.b64encode(b"k" * 32).decode())
    code, out, _ = mycelos("init")
    assert code == 0
    assert "in the environment" in out
    assert not layout.master_key.exists()


def test_a_folder_that_cannot_be_made_is_one_line(mycelos, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = mycelos("init", "--data-dir", str(tmp_path / "file" / "data"))
    assert code == 1
    assert err.count("\n") == 1


@pytest.mark.parametrize("stays", ["master_key", "proxy_token"])
def test_what_is_missing_is_made_and_what_is_there_stays(mycelos, layout: DataLayout, stays: str) -> None:
    mycelos("init")
    path = getattr(layout, stays)
    before = path.read_bytes()
    other = layout.proxy_token if stays == "master_key" else layout.master_key
    other.unlink()
    assert mycelos("init")[0] == 0
    assert path.read_bytes() == before
    assert other.exists()
