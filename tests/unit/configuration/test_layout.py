from __future__ import annotations

from pathlib import Path

from mycelos.configuration.layout import DataLayout


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
        layout.gateway_file,
        layout.gateway_head,
        layout.command_line_token,
        layout.workspaces,
    ):
        assert path.is_relative_to(layout.gateway)


def test_the_names_that_the_interfaces_promise_stand() -> None:
    layout = DataLayout(Path("/srv/data"))
    assert layout.master_key == Path("/srv/data/.master_key")
    assert layout.operator_file == Path("/srv/data/operator.toml")
    assert layout.operator_socket == Path("/srv/data/proxy/operator.sock")
    assert layout.gateway_file == Path("/srv/data/gateway/gateway.toml")
