# usage: readable.sh FILE
# Whether FILE, which may begin with ~/, can be read; says what is in the way.
set -u
file=$1
case $file in
\~/*) file=$HOME/${file#\~/} ;;
esac
[ -f "$file" ] && [ -r "$file" ] && exit 0
ls -ld -- "$file" >&2
exit 1
