# usage: environment.sh BEFORE PYTHON MODULES MODULE... LINE... <CODE
# Run Python CODE in an environment of the profile as a job makes it: so many modules, then the lines
# of its activation and setup; the words of sh BEFORE the interpreter bring it into an image, and are
# empty where there is none. Run by bash, as jobs are. What modules and lines say goes to stderr.
exec 3<&0 </dev/null 4>&1 >&2
before=$1
python=$2
modules=$3
shift 3
if [ "$modules" -gt 0 ] && ! command -v module >/dev/null; then
    # shellcheck source=/dev/null
    . /etc/profile
fi
while [ "$modules" -gt 0 ]; do
    module load "$1" || {
        echo "the module $1 cannot be loaded here"
        exit 126
    }
    modules=$((modules - 1))
    shift
done
eval "$(printf '%s\n' "$@")"
set +eu # in case the lines above have set them
case $python in
\~/*) python=$HOME/${python#\~/} ;;
esac
if [ -z "$before" ] && ! command -v "$python" >/dev/null; then
    echo "the interpreter $python is not here"
    exit 127
fi
eval "exec $before \"\$python\" -" <&3 >&4
