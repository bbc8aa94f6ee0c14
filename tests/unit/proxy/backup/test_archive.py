from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile

import pytest

from mycelos.configuration.layout import DataLayout
from mycelos.proxy.backup import archive as archives
from mycelos.proxy.backup import manifest as manifests
from mycelos.proxy.backup.archive import BLOCK, digest, header, read_archive, write_archive
from mycelos.proxy.backup.errors import BackupError
from mycelos.proxy.backup.manifest import LedgerHead, Manifest, Member

CONTENT = {"vault.sqlite": b"v" * 1000, "ledger.sqlite": b"l" * BLOCK, "operator.toml": b""}


def manifest_of(content):
    members = tuple(Member(name, len(data), hashlib.sha256(data).hexdigest()) for name, data in content.items())
    return Manifest("mycelos/backup/1", "2026", "0", LedgerHead(0, "ab" * 32), None, (), members)


@pytest.fixture
def written(tmp_path):
    """The bytes of an archive of `CONTENT`."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    text = manifests.encode(manifest_of(CONTENT))
    return b"".join(write_archive(text, [(name, folder / name) for name in CONTENT]))


@pytest.fixture
def empty(tmp_path):
    root = tmp_path / "unpacked"
    root.mkdir(mode=0o700)
    return DataLayout(root)


def refused(data, layout, match):
    with pytest.raises(BackupError, match=match):
        read_archive(io.BytesIO(data), layout)


def test_what_is_written_is_read_into_its_places_for_the_owner_alone(written, empty):
    assert read_archive(io.BytesIO(written), empty) == manifest_of(CONTENT)
    assert empty.vault.read_bytes() == CONTENT["vault.sqlite"]
    assert empty.ledger.read_bytes() == CONTENT["ledger.sqlite"]
    assert empty.operator_file.read_bytes() == b""
    modes = {path.stat().st_mode & 0o777 for path in empty.root.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in empty.root.rglob("*") if path.is_dir()} == {0o700}


def test_any_tar_program_reads_it(written, tmp_path):
    (tmp_path / "a.tar").write_bytes(written)
    listed = subprocess.run(["tar", "-tf", tmp_path / "a.tar"], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["manifest.json", *CONTENT]
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert archive.extractfile("vault.sqlite").read() == CONTENT["vault.sqlite"]


def test_a_member_larger_than_a_header_can_say_is_refused():
    assert header("vault.sqlite", archives.SIZE_LIMIT)
    with pytest.raises(BackupError, match="8589934592 bytes"):
        header("vault.sqlite", archives.SIZE_LIMIT + 1)


def test_a_file_that_becomes_shorter_while_it_is_read_is_no_backup(tmp_path):
    path = tmp_path / "vault.sqlite"
    path.write_bytes(b"x" * 3_000_000)
    pieces = write_archive(b"{}", [("vault.sqlite", path)])
    for _ in range(4):
        next(pieces)
    path.write_bytes(b"")
    with pytest.raises(BackupError, match="shorter"):
        list(pieces)


def test_an_archive_that_is_cut_anywhere_is_refused(written, tmp_path):
    for number, length in enumerate(range(0, len(written), 97)):
        root = tmp_path / str(number)
        root.mkdir(mode=0o700)
        with pytest.raises(BackupError):
            read_archive(io.BytesIO(written[:length]), DataLayout(root))


def test_no_byte_of_an_archive_can_be_changed(written, tmp_path):
    for number, place in enumerate(range(0, len(written), 41)):
        root = tmp_path / str(number)
        root.mkdir(mode=0o700)
        changed = bytearray(written)
        changed[place] ^= 1
        try:
            found = read_archive(io.BytesIO(bytes(changed)), DataLayout(root))
        except BackupError:
            continue
        # Text of the manifest that stands for nothing else, such as the time.
        assert place < 2048
        assert found.members == manifest_of(CONTENT).members


def test_something_behind_the_end_is_refused(written, empty):
    refused(written + b"\0", empty, "does not end")


def spliced(written, made):
    """The archive with another header in the place of the vault's."""
    place = written.index(header("vault.sqlite", 1000))
    return written[:place] + made + written[place + BLOCK :]


def other_header(**changes):
    entry = tarfile.TarInfo("vault.sqlite")
    entry.size, entry.mode, entry.mtime = 1000, 0o600, 0
    for name, value in changes.items():
        setattr(entry, name, value)
    return entry.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "../vault.sqlite"},
        {"name": "/etc/passwd"},
        {"name": "./vault.sqlite"},
        {"name": ".master_key"},
        {"name": "ledger.sqlite"},
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd", "size": 0},
        {"type": tarfile.LNKTYPE, "linkname": "manifest.json", "size": 0},
        {"type": tarfile.DIRTYPE, "size": 0},
        {"type": tarfile.FIFOTYPE, "size": 0},
        {"type": tarfile.CHRTYPE, "size": 0},
        {"type": tarfile.GNUTYPE_SPARSE},
        {"mode": 0o4755},
        {"uid": 1},
        {"mtime": 1},
        {"size": 1001},
        {"size": archives.SIZE_LIMIT},
    ],
    ids=str,
)
def test_anything_but_the_plain_file_that_belongs_there_is_refused(written, empty, changes):
    refused(spliced(written, other_header(**changes)), empty, "not a backup that Mycelos made")
    assert not [path for path in empty.root.rglob("*") if path.is_symlink()]


def test_a_size_in_another_notation_is_refused(written, empty):
    made = bytearray(header("vault.sqlite", 1000))
    for digits in (b"\x80" + bytes(9) + b"\x03", b"+0000001750", b"0000000175 ", b"00000001_50", b"0000000 175"):
        made[124:135] = digits
        refused(spliced(written, bytes(made)), empty, "not a backup that Mycelos made")


def test_a_member_that_is_not_what_the_manifest_says_is_refused(written, empty):
    refused(written.replace(b"v" * 1000, b"w" * 1000), empty, "not what the manifest says")


def test_a_member_is_never_written_over_a_file_that_is_there(written, empty):
    empty.proxy.mkdir(mode=0o700)
    empty.vault.symlink_to("/nowhere")
    with pytest.raises(FileExistsError):
        read_archive(io.BytesIO(written), empty)


def test_the_digest_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert digest(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
