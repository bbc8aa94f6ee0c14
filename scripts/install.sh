#!/usr/bin/env bash
# Installs Mycelos from this clone and starts it: system packages (as root), a virtual environment with locked and
# hashed requirements, key and token, the running system, a one-time link. Safe to run again at any time: what is
# there stays, a key is never overwritten.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

usage() {
    cat << 'TEXT'
Usage: scripts/install.sh [OPTION...]
  --data-dir DIR   where keys, stores and workspaces live (default: ./data)
  --bin-dir DIR    where the command `mycelos` is put (default: /usr/local/bin for root, else ~/.local/bin)
  --host           host mode: processes on this machine. Containers are not built yet, so this is what happens anyway
  --no-start       install only
  --dry-run        say what would be done, and do nothing
  --help           this text
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something is missing that only root can install
TEXT
}

data=$PWD/data
if [ "$(id -u)" -eq 0 ]; then bin=/usr/local/bin; else bin=$HOME/.local/bin; fi
start=yes
dry=no
while [ $# -gt 0 ]; do
    case $1 in
        --data-dir | --bin-dir)
            if [ -z "${2:-}" ]; then
                echo "$1 needs a folder" >&2
                exit 2
            fi
            if [ "$1" = --data-dir ]; then data=$(realpath --canonicalize-missing -- "$2"); else bin=$(realpath --canonicalize-missing -- "$2"); fi
            shift
            ;;
        --host) ;;
        --no-start) start=no ;;
        --dry-run) dry=yes ;;
        --help)
            usage
            exit 0
            ;;
        *)
            echo "unknown option: $1" >&2
            usage >&2
            exit 2
            ;;
    esac
    shift
done

venv=$(realpath --canonicalize-missing -- "${VENV:-.venv}")
packages=(python3 python3-venv bubblewrap util-linux)
command_file=$bin/mycelos
mark="# Written by scripts/install.sh of Mycelos."

say() { echo "mycelos: $*"; }
fail() {
    echo "mycelos: $*" >&2
    exit 1
}

# The one question of the first start. Without a terminal nobody is asked, and the answer stays no.
ask_about_web() {
    local state answer=
    state=$("$venv/bin/mycelos" status --json) || return 0
    [[ $state == *'"web": "unanswered"'* ]] || return 0
    if [ -t 0 ] && [ -t 1 ]; then
        read -r -p "mycelos: Agents may read public web pages (GET and HEAD)? [y/N] " answer || echo
        case $answer in
            [yY] | [yY][eE][sS]) answer=on ;;
            *) answer=off ;;
        esac
        if "$venv/bin/mycelos" egress web "$answer" > /dev/null; then
            say "reading public web pages is $answer; change it with: mycelos egress web on (or off)"
        fi
    else
        say "agents may not read public web pages until you answer: mycelos egress web on (or off)"
    fi
}

say "host mode: four processes on this machine, walls by Landlock, seccomp and bubblewrap (containers are not built yet)"
[ "$(uname -s)" = Linux ] || fail "Linux is needed"

if [ "$dry" = yes ]; then
    mapfile -t missing < <(missing_packages "${packages[@]}")
    say "would install Debian packages: ${missing[*]:-none, all are there}"
    say "would install the locked requirements and Mycelos into $venv"
    say "would make the data folder $data, with a new key and token where there are none"
    say "would write the command $command_file"
    [ "$start" = no ] || say "would start the system and print the address of the page with a one-time link"
    exit 0
fi

ensure_packages "${packages[@]}"
ensure_python

# One installation at a time in this clone; the lock ends with this process.
exec 9< .
flock --nonblock 9 || fail "another scripts/install.sh is at work in $PWD"

# 1. The environment. The mark is written last: an installation that was interrupted is done again.
changed=no
if is_editable "$venv"; then
    say "keeping the development environment in $venv"
else
    wanted=$(digest_of requirements/host.txt requirements/build.txt pyproject.toml src)
    if [ "$(cat "$venv/.installed" 2> /dev/null)" != "$wanted" ]; then
        "$venv/bin/python" -m pip --version > /dev/null 2>&1 || "${PYTHON:-python3}" -m venv --clear "$venv"
        pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check)
        say "installing the locked requirements into $venv"
        "${pip[@]}" install --require-hashes --requirement requirements/host.txt
        "${pip[@]}" install --require-hashes --requirement requirements/build.txt
        "${pip[@]}" install --no-deps --no-build-isolation --force-reinstall .
        echo "$wanted" > "$venv/.installed"
        changed=yes
    fi
fi

# 2. The settings, before anything is made by them: a port that cannot be one must not be found at the start.
export MYCELOS_DATA_DIR=$data
"$venv/bin/mycelos" config check --settings-only > /dev/null

# 3. Data folder, key and token. Refuses where a vault has lost its key, or a key can be read by others.
"$venv/bin/mycelos" init

# 4. The command, with this installation's data folder.
if [ -e "$command_file" ] && ! grep --quiet --fixed-strings "$mark" "$command_file"; then
    say "$command_file is not ours and stays; run $venv/bin/mycelos with MYCELOS_DATA_DIR=$data instead"
else
    mkdir -p "$bin"
    cat > "$command_file.new" << TEXT
#!/usr/bin/env bash
$mark
MYCELOS_DATA_DIR=\${MYCELOS_DATA_DIR:-$(printf %q "$data")}
export MYCELOS_DATA_DIR
exec $(printf %q "$venv/bin/mycelos") "\$@"
TEXT
    chmod 755 "$command_file.new"
    mv "$command_file.new" "$command_file"
    case ":$PATH:" in
        *":$bin:"*) say "the command is: mycelos" ;;
        *) say "the command is: $command_file ($bin is not in PATH)" ;;
    esac
fi

[ "$start" = yes ] || exit 0

# 5. The running system.
if "$venv/bin/mycelos" status > /dev/null 2>&1; then
    if [ "$changed" = no ]; then
        say "already running"
        ask_about_web
        "$venv/bin/mycelos" open --print
        exit 0
    fi
    say "restarting with the new version"
    "$venv/bin/mycelos" stop
fi
mkdir -p "$data/run"
log=$data/run/serve.log
# The log is the owner's alone from its first line, which the shell may have to write.
(umask 077 && touch -- "$log")
exec 8>> "$log"
# A session of its own: it goes on when this terminal closes. The one-time link is never written to the log.
setsid "$venv/bin/mycelos" serve --log-file "$log" >&8 2>&8 < /dev/null 8>&- 9<&- &
serve=$!
exec 8>&-
for _ in $(seq 150); do
    if "$venv/bin/mycelos" status > /dev/null 2>&1; then
        ask_about_web
        "$venv/bin/mycelos" open --print
        say "log: $log; end it with: mycelos stop"
        exit 0
    fi
    kill -0 "$serve" 2> /dev/null || break
    sleep 0.1
done
tail -n 20 "$log" >&2
fail "the system did not become healthy; the whole log is $log"
