from __future__ import annotations

import json

import pytest

from mycelos.proxy.backup import manifest as manifests
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.manifest import MEMBERS, LedgerHead, Manifest, Member

HEX = "ab" * 32


def made(*names: str) -> Manifest:
    members = tuple(Member(name, 7, HEX) for name in names or ("vault.sqlite", "ledger.sqlite"))
    return Manifest("mycelos/backup/1", "2026-11-26T12:00:00Z", "0.1.0", LedgerHead(3, HEX), None, ("kid_1",), members)


def test_what_is_encoded_is_decoded():
    manifest = made(*MEMBERS)
    assert manifests.decode(manifests.encode(manifest)) == manifest
    assert manifest.total == 35


def test_no_member_is_a_key_a_token_a_socket_a_log_or_a_workspace(layout):
    held = {place(layout) for place in MEMBERS.values()}
    kept_out = {
        layout.master_key, layout.proxy_token, layout.operator_token, layout.operator_socket, layout.log,
        layout.command_line_token, layout.workspaces, layout.gateway_head, layout.command_line_head,
    }  # fmt: skip
    assert held & kept_out == set()


def test_a_newer_format_is_named():
    text = manifests.encode(made()).replace(b"backup/1", b"backup/2")
    with pytest.raises(BackupError, match=r"'mycelos/backup/2'.*newer"):
        manifests.decode(text)


@pytest.mark.parametrize(
    "names",
    [
        ("ledger.sqlite",),
        ("vault.sqlite",),
        ("ledger.sqlite", "vault.sqlite"),
        ("vault.sqlite", "vault.sqlite", "ledger.sqlite"),
        ("vault.sqlite", "ledger.sqlite", ".master_key"),
        ("vault.sqlite", "ledger.sqlite", "../x"),
    ],
    ids=" ".join,
)
def test_members_that_no_backup_has_are_refused(names):
    with pytest.raises(BackupError, match="each once"):
        manifests.decode(manifests.encode(made(*names)))


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"ledger": {"seq": -1, "leaf_hash": HEX}},
        {"ledger": {"seq": 1, "leaf_hash": "xy"}},
        {"members": [{"name": "vault.sqlite", "size": -1, "sha256": HEX}]},
        {"vault_generation": "7"},
    ],
    ids=str,
)
def test_a_field_that_does_not_fit_is_refused(change):
    text = json.dumps({**json.loads(manifests.encode(made())), **change}).encode()
    with pytest.raises(BackupError, match="manifest"):
        manifests.decode(text)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe", b'{"format": 3}'])
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(BackupError, match="manifest"):
        manifests.decode(data)
