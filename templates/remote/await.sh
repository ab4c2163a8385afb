# usage: await.sh LIMIT TICK CHECKS NONCE DIRECTORY...
# Wait up to LIMIT seconds until one of the session DIRECTORYs has something to say that it had not
# said in CHECKS (its words, joined by commas, in the same order), looking every TICK seconds.
# Prints, for every file that is there, its place in the list, its name and its text between marks.
set -u
limit=$1
tick=$2
known=$3
nonce=$4
shift 4
end=$(($(date +%s) + limit))
while :; do
    found=
    for directory; do
        # Listing first makes NFS ask the server again. A directory that cannot be read now says
        # nothing; it is gone if the one above can be read and does not hold it.
        names=$(ls "$directory" 2>/dev/null) || {
            names=
            if others=$(ls "${directory%/*}" 2>/dev/null); then
                case "
$others
" in
                *"
${directory##*/}
"*) ;;
                *) names=gone ;;
                esac
            fi
        }
        for name in rendezvous.json failure.json exit.json gone; do
            case "
$names
" in
            *"
$name
"*) found=$found+$name ;;
            esac
        done
        found=$found,
    done
    [ "$found" = "$known" ] || break
    [ "$(date +%s)" -lt "$end" ] || break
    kill -0 "$PPID" 2>/dev/null || exit 0 # the connection is gone, nobody listens
    sleep "$tick" 2>/dev/null || sleep 1 # POSIX promises whole seconds only
done
printf 'known %s\n' "$found"
place=0
for directory; do
    for name in rendezvous.json failure.json ending.json exit.json; do
        # shellcheck disable=SC3067 # dash, bash, ksh and busybox all know -O
        if [ -f "$directory/$name" ] && [ ! -L "$directory/$name" ] && [ -O "$directory/$name" ]; then
            printf '<%s %s %s>\n' "$nonce" "$place" "$name"
            cat "$directory/$name"
            printf '\n</%s>\n' "$nonce"
        fi
    done
    place=$((place + 1))
done
