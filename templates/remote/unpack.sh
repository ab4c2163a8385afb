# usage: unpack.sh BASE LIB_KEY <TAR.GZ
# Put hpclaunch's own modules below BASE/lib/LIB_KEY, whole or not at all, also when two do it at once.
set -eu
umask 077
lib=$1/lib
key=$2
case $key in
'' | . | .. | */*)
    echo "not the name of a directory: $key" >&2
    exit 2
    ;;
esac
# A directory or a link that somebody else made could be turned elsewhere behind our back.
mine() {
    [ -n "$(find "$1" -prune -user "$(id -u)")" ] && return
    echo "$1: not yours, but somebody else's" >&2
    return 1
}

mkdir -p "$1"
mine "$1"
chmod 700 "$1"
mkdir -p "$lib"
mine "$lib"
new=$(mktemp -d "$lib/.new-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
# Not in a pipe: there nobody would see that the archive was cut short.
gzip -dc >"$new/tar"
mkdir "$new/$key"
(cd "$new/$key" && tar -xmf ../tar) # -C would read backslashes as escapes
# Where there is a compiler, what reads NetCDF in sessions is faster; see hatch_build.py.
storage=$new/$key/hpclaunch/storage
if [ -f "$storage/chunks.c" ] && command -v cc >/dev/null 2>&1; then
    (
        cd "$storage" && mkdir lib
        cc -O3 -std=c99 -ffp-contract=off -fPIC -shared -o lib/chunks.so chunks.c >/dev/null 2>&1 || rm -rf lib
    )
fi
: >"$new/$key/.complete"
# Moving it into `lib` is one step, and fails where another has put it there already.
if mv "$new/$key" "$lib/" 2>/dev/null || [ -f "$lib/$key/.complete" ]; then exit 0; fi
# What lies there was never whole, or is no longer.
mv "$lib/$key" "$new/old"
mv "$new/$key" "$lib/" || [ -f "$lib/$key/.complete" ]
