from __future__ import annotations

import errno
import os
import shutil
import subprocess

import pyrage
import pytest
from pyrage.x25519 import Identity

from mycelos.proxy.backup import sealing
from mycelos.proxy.backup.errors import BackupError

PLAIN = os.urandom(200_000)


@pytest.fixture
def identity():
    return Identity.generate()


@pytest.fixture
def sealed(tmp_path, identity):
    path = tmp_path / "a.age"
    with path.open("wb") as stream:
        sealing.seal(iter([PLAIN[:1], PLAIN[1:70_000], b"", PLAIN[70_000:]]), stream.fileno(), [identity.to_public()])
    return path


def decrypted(path, identities):
    told = []
    target = path.with_name("plain")
    with target.open("wb") as stream:
        sealing.unseal(path, stream.fileno(), identities, told.append)
    assert sum(told) == target.stat().st_size
    return target.read_bytes()


def test_what_is_sealed_opens_with_its_identity(sealed, identity):
    assert decrypted(sealed, [Identity.generate(), identity]) == PLAIN
    assert PLAIN[:64] not in sealed.read_bytes()


def test_any_age_program_opens_it(sealed, identity):
    # The library's other entry, and age itself where there is one.
    assert pyrage.decrypt(sealed.read_bytes(), [identity]) == PLAIN
    if program := shutil.which("age"):
        key = sealed.with_name("key")
        key.write_text(f"{identity}\n")
        assert subprocess.run([program, "-d", "-i", key, sealed], capture_output=True, check=True).stdout == PLAIN


def test_another_identity_is_told_from_damage(sealed):
    with pytest.raises(BackupError, match="other recipients"):
        decrypted(sealed, [Identity.generate()])


def test_a_file_that_is_cut_anywhere_is_refused(sealed, identity):
    whole = sealed.read_bytes()
    for length in {*range(0, 400, 23), 65_536, 65_736, 65_752, 131_072, len(whole) - 1, len(whole) - 16}:
        sealed.write_bytes(whole[:length])
        with pytest.raises(BackupError, match=r"cut short|not a file that age"):
            decrypted(sealed, [identity])


def test_a_file_that_is_changed_or_longer_is_refused(sealed, identity):
    whole = sealed.read_bytes()
    for place in (30, 60, 150, 190, 250, 70_000, 150_000, len(whole) - 1):
        sealed.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BackupError):
            decrypted(sealed, [identity])
    sealed.write_bytes(whole + b"x")
    with pytest.raises(BackupError, match="damaged"):
        decrypted(sealed, [identity])


def test_a_full_disk_is_never_taken_for_a_whole_file(identity):
    # The library drops the error of a writer whose last bytes are lost.
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        for size in (10, 100_000):
            with pytest.raises(OSError) as caught:
                sealing.seal(iter([b"x" * size]), full, [identity.to_public()])
            assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(full)


def test_a_full_disk_is_not_taken_for_damage(sealed, identity):
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError) as caught:
            sealing.unseal(sealed, full, [identity], lambda _count: None)
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(full)


def test_an_error_of_what_is_encrypted_arrives_as_it_is(tmp_path, identity):
    def pieces():
        yield b"x"
        raise BackupError(detail="It became shorter.", next_step="Again.")

    with (tmp_path / "a").open("wb") as stream, pytest.raises(BackupError, match="shorter"):
        sealing.seal(pieces(), stream.fileno(), [identity.to_public()])


def test_recipients_are_taken_once_each(identity):
    text = str(identity.to_public())
    assert len(sealing.parse_recipients([text, f" {text}\n", str(Identity.generate().to_public())])) == 2


def test_the_secret_half_as_a_recipient_is_refused_and_not_repeated(identity):
    with pytest.raises(BackupError, match="secret half") as caught:
        sealing.parse_recipients([str(identity).lower()])
    assert str(identity)[20:40].lower() not in str(caught.value).lower()


@pytest.mark.parametrize("text", ["", "age1xyz", "ssh-ed25519 AAAA", "age1" + "q" * 58])
def test_what_is_no_recipient_is_refused_with_its_number(text, identity):
    with pytest.raises(BackupError, match="recipient 2"):
        sealing.parse_recipients([str(identity.to_public()), text])


def test_without_a_recipient_it_is_said_how_to_make_one():
    with pytest.raises(BackupError, match="--new-identity"):
        sealing.parse_recipients([])


def test_a_new_identity_is_for_its_owner_alone_and_works(tmp_path):
    path = tmp_path / "identity.txt"
    recipient = sealing.new_identity(path)
    assert path.stat().st_mode & 0o777 == 0o600
    (identity,) = sealing.read_identities(path)
    assert str(identity.to_public()) == str(recipient)
    assert str(recipient) in path.read_text()


def test_a_new_identity_replaces_nothing(tmp_path):
    path = tmp_path / "identity.txt"
    path.write_text("mine")
    with pytest.raises(BackupError, match="stays as it is"):
        sealing.new_identity(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no age identity"),
        (b"# a comment\n\n", "no age identity"),
        (b"AGE-SECRET-KEY-1XYZ\n", "line 1"),
        (b"\xff\xfe\x00", "not text"),
        (b"x" * 70_000, "longer than"),
    ],
)
def test_a_file_that_holds_no_identity_is_refused(tmp_path, content, match):
    path = tmp_path / "identity.txt"
    path.write_bytes(content)
    with pytest.raises(BackupError, match=match) as caught:
        sealing.read_identities(path)
    assert "XYZ" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BackupError, match="absent.txt"):
        sealing.read_lines(tmp_path / "absent.txt")
