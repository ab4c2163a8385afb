# usage: settle.sh BASE NAME LIMIT
# After a submit whose answer nobody read. Making the session's directory decides the race: who makes
# it first wins. If we do, the submit can never happen any more; else wait for its end and repeat
# what the scheduler said. Prints `never`, `open` (no answer within LIMIT seconds) or `submitted`
# then its exit code and its words.
set -u
umask 077
mkdir -p "$1/sessions" && cd "$1/sessions" || exit 1
case $2 in
'' | . | .. | */*)
    echo "not the name of a session's directory: $2" >&2
    exit 2
    ;;
esac
end=$(($(date +%s) + $3))
until [ -f "./$2/submitted" ]; do
    # The directory goes away again where the submit failed to fill it.
    if words=$(mkdir "./$2" 2>&1); then
        echo never
        exit 0
    fi
    if [ "$(date +%s)" -ge "$end" ]; then
        if [ -e "./$2" ] || [ -L "./$2" ]; then
            echo open
            exit 0
        fi
        printf '%s\n' "$words" >&2
        exit 1
    fi
    sleep 0.2 2>/dev/null || sleep 1
done
echo submitted
cat "./$2/submitted"
