#!/usr/bin/env bash
# Runs a command where only the loopback interface exists, if the kernel allows that; else says so and runs it as it is.
# As root it gives the tests memory as their folder as well, MYCELOS_TEST_FOLDER: they wait for no disk.
# Usage: scripts/offline.sh COMMAND [ARGUMENT...]
set -euo pipefail

# As root a network namespace is enough. A user needs a user namespace as well, keeps the own name in it, and gives
# the powers in it back before the command starts.
if [ "$(id -u)" -eq 0 ]; then
    enter=(unshare --net --mount)
    leave=()
else
    enter=(unshare --user --map-current-user --keep-caps --net)
    leave=(setpriv --inh-caps=-all --ambient-caps=-all)
fi

if "${enter[@]}" -- ip link set lo up 2> /dev/null; then
    # A short name: sockets lie below it. Where nothing may be mounted the tests use /tmp.
    folder=/tmp/m
    # shellcheck disable=SC2016 # The inner shell expands its own arguments.
    exec "${enter[@]}" -- sh -c '
        ip link set lo up || exit
        if mkdir -p "$1" && mount -t tmpfs -o mode=1777 tests "$1"; then export MYCELOS_TEST_FOLDER="$1"; fi 2> /dev/null
        shift
        exec "$@"
    ' offline "$folder" "${leave[@]}" "$@"
fi
echo "offline.sh: no network namespace can be made here; the tests see this machine's network" >&2
exec "$@"
