# usage: doctor.sh BASE
# How the user's place on a site is: room, permissions, what is left of sessions. Prints one
# KEY=VALUE a line; a file that shows whether one can be written is removed at once.
set -u
base=$1

# Commands that ask file servers can hang.
limited() {
    if command -v timeout >/dev/null; then timeout 10 "$@"; else "$@"; fi
}

printf 'system=%s\n' "$(uname -sr)"
if [ -n "${SSH_USER_AUTH:-}" ] && [ -r "$SSH_USER_AUTH" ]; then # where sshd exposes it
    printf 'auth=%s\n' "$(cut -d ' ' -f 1 "$SSH_USER_AUTH" | tr '\n' ' ')"
fi
near=$base
while [ ! -d "$near" ]; do near=$(dirname "$near"); done
if [ -d "$base" ]; then
    # shellcheck disable=SC2012
    printf 'mode=%s\n' "$(ls -ld "$base" | cut -c 1-10)"
    for session in "$base"/sessions/*/; do
        if [ -d "$session" ]; then printf 'session=%s\n' "$(basename "$session")"; fi
    done
fi
printf 'room=%s\n' "$(limited df -Pk "$near" 2>/dev/null | awk 'NR == 2 { print $4, $5 }')"
printf 'files=%s\n' "$(limited df -Pi "$near" 2>/dev/null | awk 'NR == 2 { print $4, $5 }')"
if probe=$(limited mktemp "$near/.hpclaunch-doctor.XXXXXX" 2>&1); then
    rm -f "$probe"
    printf 'writable=yes\n'
else
    printf 'writable=%s\n' "$(printf %s "$probe" | tr '\n' ' ')"
fi
if command -v quota >/dev/null; then
    limited quota -w 2>/dev/null | tail -n +3 | while read -r line; do printf 'quota=%s\n' "$line"; done
fi
