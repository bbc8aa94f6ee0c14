#!/usr/bin/env bash
# Runs a command where only the loopback interface exists, if the kernel allows that; else says so and runs it as it is.
# Usage: scripts/offline.sh COMMAND [ARGUMENT...]
set -euo pipefail

# As root a network namespace is enough. A user needs a user namespace as well, keeps the own name in it, and gives
# the powers in it back before the command starts.
if [ "$(id -u)" -eq 0 ]; then
    enter=(unshare --net)
    leave=()
else
    enter=(unshare --user --map-current-user --keep-caps --net)
    leave=(setpriv --inh-caps=-all --ambient-caps=-all)
fi

if "${enter[@]}" -- ip link set lo up 2> /dev/null; then
    # shellcheck disable=SC2016 # The inner shell expands its own arguments.
    exec "${enter[@]}" -- sh -c 'ip link set lo up && exec "$@"' offline "${leave[@]}" "$@"
fi
echo "offline.sh: no network namespace can be made here; the tests see this machine's network" >&2
exec "$@"
