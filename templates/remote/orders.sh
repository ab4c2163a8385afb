# usage: orders.sh LIMIT TICK MOST KNOWN NONCE DIRECTORY...
# Wait up to LIMIT seconds until the list of orders of one of the session DIRECTORYs is another than
# KNOWN says (checksums, joined by commas, in the same order), looking every TICK seconds. Prints the
# lists, at most MOST bytes of each, with their place among the directories, between marks.
set -u
limit=$1
tick=$2
most=$3
known=$4
nonce=$5
shift 5

# Only a plain file of ours: a link may lead anywhere, and a pipe would keep us for ever.
list() {
    for folder in "$1" "$1/orders"; do
        [ -d "$folder" ] && [ ! -L "$folder" ] || return
    done
    ls "$1/orders" >/dev/null 2>&1 # makes NFS ask the server again
    # shellcheck disable=SC3067 # dash, bash, ksh and busybox all know -O
    [ -f "$1/orders/list.json" ] && [ ! -L "$1/orders/list.json" ] && [ -O "$1/orders/list.json" ] &&
        head -c "$most" "$1/orders/list.json" 2>/dev/null
}

end=$(($(date +%s) + limit))
while :; do
    found=
    for directory; do
        found=$found$(list "$directory" | cksum | tr ' ' -),
    done
    [ "$found" = "$known" ] || break
    [ "$(date +%s)" -lt "$end" ] || break
    kill -0 "$PPID" 2>/dev/null || exit 0 # the connection is gone, nobody listens
    sleep "$tick" 2>/dev/null || sleep 1  # POSIX promises whole seconds only
done
printf 'known %s\n' "$found"
[ "$found" != "$known" ] || exit 0
place=0
for directory; do
    printf '<%s %s>\n' "$nonce" "$place"
    list "$directory"
    printf '\n</%s>\n' "$nonce"
    place=$((place + 1))
done
