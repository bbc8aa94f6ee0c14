from __future__ import annotations

from pathlib import Path

import pytest

from mycelos.configuration.layout import DataLayout, state_directory


def _paths(layout: DataLayout) -> dict[str, Path]:
    return {name: getattr(layout, name) for name, kind in vars(DataLayout).items() if isinstance(kind, property)}


def test_every_path_lies_below_the_data_folder_and_no_two_are_the_same() -> None:
    root = Path("/srv/data")
    paths = _paths(DataLayout(root))
    assert len(paths) > 10
    assert all(path.is_relative_to(root) and path != root for path in paths.values())
    assert len(set(paths.values())) == len(paths)


def test_what_the_proxy_keeps_lies_outside_the_gateways_folder() -> None:
    layout = DataLayout(Path("/srv/data"))
    for path in (layout.master_key, layout.vault, layout.ledger, layout.operator_socket, layout.operator_token):
        assert not path.is_relative_to(layout.gateway)


def test_what_the_gateway_writes_lies_below_its_folder() -> None:
    layout = DataLayout(Path("/srv/data"))
    for path in (
        layout.gateway_database,
        layout.gateway_head,
        layout.command_line_token,
    ):
        assert path.is_relative_to(layout.gateway)


def test_what_the_gateway_must_not_decide_lies_beside_its_folder() -> None:
    layout = DataLayout(Path("/srv/data"))
    for path in (layout.gateway_file, layout.workspaces, layout.log, layout.supervisor_state):
        assert not path.is_relative_to(layout.gateway)


def test_the_names_that_the_interfaces_promise_stand() -> None:
    layout = DataLayout(Path("/srv/data"))
    assert layout.master_key == Path("/srv/data/.master_key")
    assert layout.operator_file == Path("/srv/data/operator.toml")
    assert layout.operator_socket == Path("/srv/data/proxy/operator.sock")
    assert layout.gateway_file == Path("/srv/data/gateway/gateway.toml")


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"XDG_STATE_HOME": "/state", "HOME": "/users/x"}, "/state"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/users/x"}, "/users/x/.local/state"),
        ({"XDG_STATE_HOME": "", "HOME": "/users/x"}, "/users/x/.local/state"),
        ({"HOME": "x"}, None),
        ({}, None),
    ],
)
def test_the_state_folder_is_the_named_one_or_the_home_s(environ: dict[str, str], folder: str | None) -> None:
    assert state_directory(environ) == (None if folder is None else Path(folder))


def test_a_state_folder_inside_the_data_folder_is_none(tmp_path: Path) -> None:
    layout = DataLayout(tmp_path / "data")
    assert layout.heads_outside({"XDG_STATE_HOME": str(tmp_path)}, "ab") == tmp_path / "mycelos" / "heads" / "ab"
    assert layout.heads_outside({"XDG_STATE_HOME": str(tmp_path / "data" / "state")}, "ab") is None
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert layout.heads_outside({"XDG_STATE_HOME": str(tmp_path / "link")}, "ab") is None
    assert layout.heads_outside({}, "ab") is None
