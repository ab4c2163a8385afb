# usage: submit.sh BASE NAME COMMAND... <TAR
# Make the session's directory, fill it, and submit its job.sh by COMMAND, once: the directory must
# be new, so the same session can never be submitted twice. Exits as COMMAND does, or with 75 where
# it came to no submit: then nothing stays that was not there before.
set -u
users=$(umask)
umask 077
base=$1
name=$2
shift 2
case $name in
'' | . | .. | */*)
    echo "not the name of a session's directory: $name" >&2
    exit 75
    ;;
esac

# A directory or a link that somebody else made could be turned elsewhere behind our back.
mine() {
    [ -n "$(find "$1" -prune -user "$(id -u)")" ] && return
    echo "$1: not yours, but somebody else's" >&2
    return 1
}

make() {
    mkdir -p "$base" && mine "$base" && chmod 700 "$base" && mkdir -p "$base/sessions" &&
        mine "$base/sessions" && cd "$base/sessions" && mkdir "./$name"
}

# The log is made here, so that it is private whatever the scheduler opens it with.
fill() (
    cd "./$name" && tar -xmf - && mkdir -p workers && [ -f job.sh ] && : >job.log
)

make || exit 75
fill || {
    rm -rf "./$name"
    exit 75
}
cd "./$name" || exit 75
code=0
# What notebooks write later has the user's own umask: schedulers hand on the submit's.
words=$(umask "$users" && "$@" <job.sh) || code=$?
# The job may be in the queue now: a full disk must not change what the scheduler said.
{ printf '%s\n' "$code" "$words" >.submitted && mv .submitted submitted; } || :
printf '%s\n' "$words"
exit "$code"
