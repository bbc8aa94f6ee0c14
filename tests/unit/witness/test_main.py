from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from witnessed_log import MemoryLog, numbered, serving

from mycelos.configuration.environment import ConfigurationError
from mycelos.ledger.cosignature import CosignerKey
from mycelos.ledger.submission import SUBMISSION_LIMIT, Submission
from mycelos.proxy.egress.url import parse_url
from mycelos.witness.main import serve as run


@pytest.mark.anyio
async def test_one_path_one_method_and_a_limit(tmp_path: Path, anyio_backend: str) -> None:
    log = MemoryLog(numbered(3))
    async with serving(tmp_path, log) as served:
        path = parse_url(f"{served.url}add-checkpoint")
        good = await served.post(path, Submission(0, (), log.at(3).encode()).body())
        assert (good.status, good.media_type) == (200, "text/plain")
        assert (await served.post(served.url, b"")).status == 404
        assert (await served.post(path, b"x" * (SUBMISSION_LIMIT + 1))).status == 413
        served.store.keep(log.key.name, b"nonsense")
        assert (await served.post(path, Submission(3, (), log.at(3).encode()).body())).status == 500


def test_the_command_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    log = MemoryLog(numbered(3))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["witness", "serve", "--folder", str(tmp_path), "--log", str(log.key), "--listen", f"127.0.0.1:{port}"]
    command = [sys.executable, "-I", "-m", "mycelos.cli.main", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            first = process.stdout.readline()
            assert CosignerKey.parse(first.removeprefix("witness ").strip()).name.startswith(
                "witness.mycelos.internal/"
            )
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("POST", "/add-checkpoint", Submission(0, (), log.at(3).encode()).body())
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("listen", "vkeys", "named"),
    [
        ("localhost:0", [], "--listen"),
        ("127.0.0.1", [], "--listen"),
        ("127.0.0.1:70000", [], "--listen"),
        ("127.0.0.1:0", ["nonsense"], "--log"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, listen: str, vkeys: list[str], named: str) -> None:
    mask = os.umask(0o077)
    try:
        with pytest.raises(ConfigurationError, match=named):
            run(listen, tmp_path / "new", vkeys, print)
    finally:
        os.umask(mask)
    assert not (tmp_path / "new").exists()
