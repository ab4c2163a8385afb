# usage: order.sh DIRECTORY NUMBER COMMAND... <SCRIPT
# Submit SCRIPT by COMMAND for order NUMBER of the session in DIRECTORY, once: a directory named after
# the number must be new, and the session makes it where it takes the order back. Prints `submitted`,
# or `before` for an answer that was left by an earlier try, with COMMAND's exit code and its words
# (errors on stderr); or `open` where there is none (yet).
set -u
users=$(umask)
umask 077
directory=$1
number=$2
shift 2
case $number in
'' | *[!0-9]*)
    echo "not the number of an order: $number" >&2
    exit 75
    ;;
esac
# shellcheck disable=SC3067 # dash, bash, ksh and busybox all know -O
if [ ! -d "$directory/orders" ] || [ -L "$directory/orders" ] || [ ! -O "$directory/orders" ]; then
    echo "$directory/orders: not a directory of yours" >&2
    exit 75
fi
cd "$directory/orders" || exit 75

if words=$(mkdir "./$number" 2>&1); then
    code=0
    : >"./$number/stderr"
    # What workers write has the user's own umask: schedulers hand on the submit's.
    words=$(umask "$users" && exec "$@" 2>"./$number/stderr") || code=$?
    # The job may be in the queue now: a full disk must not change what the scheduler said.
    { printf '%s\n' "$words" >"./$number/stdout" && echo "$code" >"./$number/.exit" &&
        mv "./$number/.exit" "./$number/exit"; } || :
    printf 'submitted %s\n%s\n' "$code" "$words"
    head -c 10000 "./$number/stderr" >&2
    exit 0
fi
if [ ! -d "./$number" ]; then
    printf '%s\n' "$words" >&2
    exit 75
fi
if [ -f "./$number/exit" ]; then
    printf 'before %s\n' "$(head -c 8 "./$number/exit")"
    head -c 10000 "./$number/stdout"
    head -c 10000 "./$number/stderr" >&2
else
    echo open
fi
