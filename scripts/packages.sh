# shellcheck shell=bash
# Sourced by the other scripts: which of Debian's packages are missing, and how they get here.

# Prints the packages of "$@" whose program or module is not there, one a line.
missing_packages() {
    local package
    for package in "$@"; do
        case $package in
            bubblewrap) command -v bwrap ;;
            chromium) command -v chromium ;;
            iproute2) command -v ip ;;
            util-linux) command -v unshare ;;
            python3) command -v python3 ;;
            python3-venv) "${PYTHON:-python3}" -c 'import ensurepip, venv' ;;
            *) dpkg-query --show "$package" ;;
        esac > /dev/null 2>&1 || echo "$package"
    done
}

# Installs what is missing of "$@": as root on a Debian system; else prints the line and ends with 3 (a wall is missing).
ensure_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
        echo "Missing: ${missing[*]}. As root, run this and then start again:" >&2
        echo "    apt-get update && apt-get install --yes --no-install-recommends ${missing[*]}" >&2
        exit 3
    fi
    echo "Installing from Debian: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq < /dev/null > /dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}" < /dev/null > /dev/null
    mapfile -t missing < <(missing_packages "$@")
    if [ ${#missing[@]} -ne 0 ]; then
        echo "Still missing after the installation: ${missing[*]}" >&2
        exit 3
    fi
}

# Ends with 2 unless ${PYTHON:-python3} is 3.11 or later.
ensure_python() {
    if ! "${PYTHON:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        echo "Python 3.11 or later is needed; ${PYTHON:-python3} is $("${PYTHON:-python3}" --version 2>&1). Set PYTHON=/path/to/python3.11" >&2
        exit 2
    fi
}

# One digest over the files below "$@", names and contents.
digest_of() {
    find "$@" -type f ! -name '*.pyc' -print0 | sort --zero-terminated | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# Fails unless the environment in $1 holds this project as an editable installation of the current folder.
is_editable() {
    "$1/bin/python" - "$PWD" << 'PYTHON' 2> /dev/null
import json, pathlib, sys
from importlib.metadata import distribution
source = json.loads(distribution("mycelos").read_text("direct_url.json"))
here = pathlib.Path(sys.argv[1]).resolve().as_uri()
sys.exit(not (source.get("dir_info", {}).get("editable") and source["url"] == here))
PYTHON
}
