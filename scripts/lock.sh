#!/usr/bin/env bash
# Writes requirements/ROLE.txt anew: exact versions and hashes, for Python 3.11 and later on Linux.
# Nothing newer than a week goes in: a release that is withdrawn as hostile is mostly withdrawn by then.
# The wishes stand in pyproject.toml; each role is held to the versions of dev.txt, so that all agree.
# Usage: scripts/lock.sh [YYYY-MM-DD]    (default: seven days ago)
set -euo pipefail
cd "$(dirname "$0")/.."

newest=${1:-$(date --utc --date '7 days ago' +%F)}
uv=${UV:-.venv/bin/uv}
if [ ! -x "$uv" ]; then
    echo "scripts/lock.sh needs uv from the development environment: run 'make install' first" >&2
    exit 3
fi

compile() { # compile NAME [uv's arguments...]: writes requirements/NAME.txt
    local name=$1 work
    shift
    work=$(mktemp)
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-header --exclude-newer "$newest" "$@" > "$work"
    {
        echo "# Written by scripts/lock.sh: nothing newer than $newest. Install with --require-hashes."
        cat "$work"
    } > "requirements/$name.txt"
    rm -f "$work"
    echo "requirements/$name.txt: $(grep -c '==' "requirements/$name.txt") packages"
}

mkdir -p requirements
compile dev pyproject.toml --extra host --extra local --group dev
for role in proxy gateway operator runner witness command-line host; do
    compile "$role" pyproject.toml --extra "$role" --constraints requirements/dev.txt
done
compile build --group build --constraints requirements/dev.txt
compile fuzz --group fuzz
compile local-model pyproject.toml --extra local --constraints requirements/dev.txt
compile local-model-file --no-deps --group local-model-file
