# usage: clean.sh BASE NAME all|secrets SECRET...
# Remove a session's directory, or only what is secret in it. Nothing there is no error. Follows no
# link, and touches nothing outside the directory.
set -u
base=$1
name=$2
what=$3
shift 3
for one in "$name" "$@"; do
    case $one in
    '' | . | .. | */*)
        echo "not a name to remove: $one" >&2
        exit 2
        ;;
    esac
done
[ -d "$base/sessions" ] || exit 0
cd "$base/sessions" || exit 1
if [ "$what" = all ]; then
    set -- "$name"
else
    [ -d "./$name" ] && [ ! -L "./$name" ] || exit 0
    cd "./$name" || exit 1
fi

remove() {
    left=0
    for one; do
        rm -rf "./$one" || left=1
    done
    return "$left"
}

# A job that is just ending may write once more behind our back, and NFS keeps files in use.
for _ in 1 2; do
    remove "$@" 2>/dev/null && exit 0
    sleep 1
done
remove "$@"
