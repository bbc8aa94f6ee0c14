"""Runs one harness under atheris: `run.py NAME CORPUS FINDINGS [--planted] [-runs=N] [-max_total_time=S] ...`.

An input that breaks a rule is left in FINDINGS, and the exit code is not 0. With --planted a wall is taken away
first, and the fuzzer begins without seeds: it must find the fault by itself. The rest goes to libFuzzer.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import atheris

HERE = Path(__file__).resolve().parent
INSTRUMENTED = [
    "mycelos.proxy.egress", "mycelos.wire.secret_forms", "mycelos.ledger.signed_note", "mycelos.ledger.checkpoint",
    "mycelos.ledger.inclusion", "mycelos.ledger.export",
]  # fmt: skip
HARNESSES = sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.py"))


def main(name: str, corpus: str, findings: str, *options: str) -> None:
    sys.path[:0] = [str(HERE), str(HERE.parent / "support")]
    with atheris.instrument_imports(include=INSTRUMENTED):
        harness = importlib.import_module(f"fuzz_{name}")
    if "--planted" in options:
        harness.plant()
    for number, seed in enumerate([] if "--planted" in options else harness.SEEDS):
        (Path(corpus) / f"seed-{number:03}").write_bytes(seed)
    with tempfile.NamedTemporaryFile("w", suffix=".dict") as words:
        for word in harness.WORDS:
            words.write('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n')
        words.flush()
        flags = [option for option in options if option != "--planted"]
        fixed = [
            f"-artifact_prefix={findings}/",
            f"-dict={words.name}",
            "-print_final_stats=1",
            "-timeout=60",
            "-report_slow_units=60",
        ]
        atheris.Setup([sys.argv[0], *fixed, *flags, corpus], harness.one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
