# usage: tail.sh FILE lines N | FILE from BYTE
# The end of a log: its last N lines, or all behind the first BYTE bytes. Prints its size in bytes on
# a line of its own first: what is written meanwhile is left for the next look. A log not yet there
# is empty.
set -u
if [ ! -f "$1" ]; then
    folder=${1%/*}
    [ -d "$folder" ] || {
        echo "$folder: No such directory" >&2
        exit 1
    }
    echo 0
    exit 0
fi
size=$(($(wc -c <"$1")))
printf '%s\n' "$size"
case $2 in
lines) tail -n "$3" -- "$1" ;;
from) [ "$3" -ge "$size" ] || tail -c "+$(($3 + 1))" -- "$1" | head -c "$((size - $3))" ;;
esac
