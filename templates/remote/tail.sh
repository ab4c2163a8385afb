# usage: tail.sh FILE lines N | FILE from BYTE
# The end of a log: its last N lines, or all behind the first BYTE bytes. A log not yet there is empty.
set -u
[ -f "$1" ] || exit 0
case $2 in
lines) tail -n "$3" -- "$1" ;;
from) tail -c "+$(($3 + 1))" -- "$1" ;;
esac
