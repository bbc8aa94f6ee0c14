from __future__ import annotations

import subprocess
import sys

from mycelos.proxy.process import forget_secrets

HARDENED = """
import os, resource, sys
from mycelos.proxy import process
process.quiet_errors()
process.harden()
print(resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))
# The kernel gives the files of a process that is not dumpable to root.
print(os.stat("/proc/self/environ").st_uid)
if "fail" in sys.argv:
    raise ValueError("text with hunter2")
if "group" in sys.argv:
    raise ExceptionGroup("hunter2", [OSError(30, "hunter2", "hunter2"), ValueError("hunter2")])
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-c", HARDENED, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_hardened_process_leaves_no_core_and_files_for_its_owner_only() -> None:
    result = run()
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["(0, 0) 0o77", "0"]


def test_an_error_that_nobody_foresaw_is_named_by_type_and_place_and_not_by_its_text() -> None:
    result = run("fail")
    assert result.returncode == 1
    assert "ValueError at __main__:" in result.stderr
    assert "hunter2" not in result.stderr
    assert "Traceback" not in result.stderr


def test_of_a_group_of_errors_the_first_one_is_named() -> None:
    result = run("group")
    assert result.returncode == 1
    assert "stopped by OSError EROFS at" in result.stderr
    assert "hunter2" not in result.stderr


def test_secrets_leave_the_environment_and_the_rest_stays() -> None:
    environ = {"MYCELOS_MASTER_KEY": "k", "MYCELOS_PROXY_TOKEN": "t", "MYCELOS_PORT": "9100"}
    forget_secrets(environ)
    assert environ == {"MYCELOS_PORT": "9100"}
