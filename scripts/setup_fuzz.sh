#!/usr/bin/env bash
# The fuzzer, from a lock of its own, into the development environment. Does nothing where it is there already.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

venv=${VENV:-.venv}
wanted=$(digest_of requirements/fuzz.txt)
if [ "$(cat "$venv/.fuzz" 2> /dev/null)" = "$wanted" ] && "$venv/bin/python" -c 'import atheris' 2> /dev/null; then
    exit 0
fi
if ! "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info >= (3, 14))'; then
    echo "setup_fuzz.sh: the fuzzer is built for Python 3.11 to 3.13; its tests are skipped here" >&2
    exit 0
fi
echo "Installing the fuzzer into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/fuzz.txt
echo "$wanted" > "$venv/.fuzz"
