# shellcheck shell=bash
# What docker/engine and docker/cluster share: where things lie, and how they speak.

set -Eeuo pipefail
# A command that fails where nobody expected it must not end a script without a word.
trap 'printf "error: %s line %s: %s\n" "${0##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR

DOCKER_DIR=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
RUN_DIR=$DOCKER_DIR/run

# People read stderr; stdout carries only what another program reads.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# die MESSAGE [HINT] [EXIT]
die() {
    printf 'error: %s\n' "$1" >&2
    if [[ -n ${2:-} ]]; then printf 'hint: %s\n' "$2" >&2; fi
    exit "${3:-1}"
}

need() {
    command -v "$1" >/dev/null || die "the command '$1' is missing" "install $2" "${3:-1}"
}

make_run_dir() {
    mkdir -p "$RUN_DIR"
    chmod 700 "$RUN_DIR"  # private keys are kept here
}

# wait_until SECONDS COMMAND...: repeat a cheap check; the deadline is wall time.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.3
    done
}
