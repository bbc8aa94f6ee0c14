from __future__ import annotations

import base64

import pytest

from mycelos.prove import credentials
from mycelos.prove.installation import Installation
from mycelos.prove.outcome import CannotShowError
from mycelos.proxy.vault.keys import create_master_key


def failed(findings):
    return [finding.tried for finding in findings if not finding.held]


def test_a_key_as_it_is_made_is_private(layout):
    create_master_key(layout)
    assert failed(credentials.probe_key_file(Installation(layout, None))) == []


def test_a_missing_key_is_not_said_to_be_private(layout):
    with pytest.raises(CannotShowError, match=r"\.master_key"):
        credentials.probe_key_file(Installation(layout, None))


def test_a_link_in_the_key_s_place_is_seen(layout):
    create_master_key(layout)
    layout.master_key.rename(layout.root / "elsewhere")
    layout.master_key.symlink_to(layout.root / "elsewhere")
    assert "find a link in its place, or another owner's file" in failed(
        credentials.probe_key_file(Installation(layout, None))
    )


def test_a_second_name_of_the_key_is_seen(layout):
    create_master_key(layout)
    (layout.root / "second").hardlink_to(layout.master_key)
    assert len(failed(credentials.probe_key_file(Installation(layout, None)))) == 1


@pytest.mark.parametrize("spell", [bytes, base64.b64encode, lambda secret: secret.hex().encode()])
def test_a_credential_in_a_file_is_found_in_every_spelling(tmp_path, spell):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"\0before" + spell(b"canary-value-123") + b"after")
    (tmp_path / "c").write_bytes(b"harmless")
    assert credentials._files_with(tmp_path, "canary-value-123") == ["a/b"]


def test_the_storage_probe_holds_on_the_code_as_it_is(layout):
    findings = credentials.probe_storage(Installation(layout, None))
    assert failed(findings) == []
    assert len(findings) == 4 + len(credentials._SEALED)
