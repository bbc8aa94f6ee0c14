#!/usr/bin/env bash
# The development environment in .venv: locked and hashed requirements, the project as an editable installation.
# Does nothing where all of it is there. VENV=FOLDER and PYTHON=PROGRAM choose other places.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

venv=${VENV:-.venv}
ensure_packages python3 python3-venv bubblewrap iproute2 util-linux
ensure_python
# The lock decides what is installed; pyproject.toml names the entry points that the installation writes.
wanted=$(digest_of requirements/dev.txt pyproject.toml)
if [ "$(cat "$venv/.development" 2> /dev/null)" = "$wanted" ] && is_editable "$venv"; then
    exit 0
fi
[ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
echo "Installing the locked requirements into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
echo "$wanted" > "$venv/.development"
