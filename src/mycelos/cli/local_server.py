"""llama.cpp's own OpenAI-compatible server on loopback, until SIGTERM.

Run by path in an environment of its own: `local_server.py WEIGHTS PORT READY_DESCRIPTOR`. Nothing of Mycelos can be
imported there; this file uses the standard library and `xllamacpp` alone.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Final

LOOPBACK: Final = "127.0.0.1"
MODEL_NAME: Final = "smollm2-135m"
_CONTEXT: Final = 4096
"""Tokens of conversation that the model sees."""
_ANSWER: Final = 200
"""Tokens of one answer, at most: a model this small does not always find an end by itself."""


def make_parameters(weights: str, port: int) -> Any:
    """What llama.cpp is told. No page, no fetching, no answers to pages of other origins."""
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = weights
    parameters.model_alias = {MODEL_NAME}
    parameters.hostnames = [LOOPBACK]
    parameters.port = port
    parameters.n_ctx = _CONTEXT
    parameters.n_predict = _ANSWER
    parameters.n_parallel = 1
    parameters.n_gpu_layers = 0
    parameters.offline = True
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.endpoint_props = False
    parameters.endpoint_metrics = False
    parameters.cors_origins = f"http://{LOOPBACK}:{port}"
    return parameters


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM or SIGINT."""
    import xllamacpp

    weights, port, ready = arguments[0], int(arguments[1]), int(arguments[2])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    server = xllamacpp.Server(make_parameters(weights, port))
    os.write(ready, b"ready\n")
    os.close(ready)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
