import errno
import os
from pathlib import Path

import pytest

from mycelos.sandbox import kernel


def test_a_failing_call_raises_its_errno() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as error:
        kernel.open_beneath(-1, "x", os.O_RDONLY)
    assert error.value.errno == errno.EBADF


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "link", "link/inside", "folder/../../outside"])
def test_nothing_leads_out_of_the_folder_that_is_open(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match=r"cross-device|symbolic links") as error:
            kernel.open_beneath(descriptor, path, os.O_RDONLY)
        assert error.value.errno in (errno.EXDEV, errno.ELOOP)
        os.close(kernel.open_beneath(descriptor, "folder", os.O_RDONLY))
        # The control: an ordinary open follows the link.
        os.close(os.open("link", os.O_RDONLY, dir_fd=descriptor))
    finally:
        os.close(descriptor)


def test_all_descriptors_but_the_kept_ones_are_closed(in_child) -> None:
    def close() -> str:
        for number in (60, 61, 62):
            os.dup2(0, number)
        kernel.close_descriptors_except(frozenset({0, 1, 2, 50, 61}))
        return ",".join(str(number) for number in range(100) if is_open(number))

    def is_open(number: int) -> bool:
        try:
            os.fstat(number)
        except OSError:
            return False
        return True

    assert in_child(close) == "0,1,2,50,61"


def test_capabilities_are_read_and_cleared(in_child) -> None:
    def clear() -> int:
        kernel.clear_capabilities()
        return kernel.effective_capabilities()

    assert in_child(clear) == "0"
    status = Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
    assert kernel.effective_capabilities() == int(status, 16)
