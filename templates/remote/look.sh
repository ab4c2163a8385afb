# usage: look.sh BASE LIB_KEY
# First look at a site: where things lie. Prints one KEY=VALUE a line; changes nothing.
set -u
base=$1
case $base in
\~) base=$HOME ;;
\~/*) base=$HOME/${base#\~/} ;;
esac
case $base in
*:*) # PYTHONPATH would be cut there
    echo "paths.base must not hold a colon: $base" >&2
    exit 2
    ;;
/*) ;;
*)
    echo "paths.base must be an absolute path or begin with ~/: $1" >&2
    exit 2
    ;;
esac
printf 'base=%s\n' "$base"
printf 'home=%s\n' "$HOME"
printf 'user=%s\n' "$(id -un)"
printf 'host=%s\n' "$(uname -n)"
printf 'time=%s\n' "$(date +%s)"
if [ -f "$base/lib/$2/.complete" ]; then printf 'lib=yes\n'; else printf 'lib=no\n'; fi
