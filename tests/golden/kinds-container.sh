#!/bin/bash
#SBATCH --job-name=hpclaunch-kinds-1-0123abcd
#SBATCH --output=/home/alice/.hpclaunch/sessions/kinds-1-0123abcd/job.log
#SBATCH --time=04:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --partition=main
#SBATCH --no-requeue
# hpclaunch session kinds-1 on kinds: JupyterLab and Dask on a compute node.

session=/home/alice/.hpclaunch/sessions/kinds-1-0123abcd
exec </dev/null

finish() { # the last word of the job, read by the laptop: its exit code
    (
        umask 077
        printf '{"nonce": "%s", "exit": %d}\n' 0123abcd "$1" >"$session/.exit.json" &&
            mv -f "$session/.exit.json" "$session"/exit.json
    )
    exit "$1"
}
cd "$session" || exit 1

lacking() {
    echo "hpclaunch: $1 here ($HOSTNAME)" >&2
    finish 126
}

# The environment, as the site's profile describes it.
# shellcheck source=/dev/null
command -v module >/dev/null || . /etc/profile
module load apptainer || lacking 'the module apptainer cannot be loaded'
command -v apptainer >/dev/null || lacking 'the program apptainer is not'
[ -e '/work/p1/images/pangeo 1.sif' ] || lacking 'the image /work/p1/images/pangeo 1.sif is not'

# JupyterLab and Dask run inside the image; the scheduler's commands they need run out here.
export PYTHONPATH=/home/alice/.hpclaunch/lib/0.1.0-0123456789ab
export APPTAINERENV_PYTHONPATH="$PYTHONPATH"
export SINGULARITYENV_PYTHONPATH="$PYTHONPATH"
if ! outside=$(mktemp -d "${TMPDIR:-/tmp}/hpclaunch-XXXXXXXX") || ! mkfifo -m 600 "$outside/orders"; then
    lacking "a private directory in ${TMPDIR:-/tmp} cannot be made"
fi
export HPCLAUNCH_OUTSIDE="$outside"

serve() { # each line that comes is a command that begins or shall end; see hpclaunch/node/outside.py
    local word order place
    while read -r word order; do
        place=$outside/${order##*/}
        case $word in
            run)
                (
                    echo "$BASHPID" >"$place/server"
                    bash "$place/command" <"$place/in" >"$place/out" 2>"$place/err" &
                    echo "$!" >"$place/pid"
                    wait "$!"
                    echo "$?" >"$place/exit"
                ) 2>/dev/null &
                ;;
            end) kill -TERM "$(<"$place/pid")" 2>/dev/null ;;
        esac
    done
}
leave_outside() {
    kill "$server" 2>/dev/null
    for place in "$outside"/order-*/; do
        [ -d "$place" ] || continue
        kill -TERM "$(<"$place/pid")" "$(<"$place/server")"
    done 2>/dev/null
    rm -rf "$outside"
}
exec 3<>"$outside/orders"
serve <&3 &
server=$!
exec 3>&-
python=python3

apptainer exec --nv --bind /scratch --bind /work:/data:ro --bind /home/alice/.hpclaunch/lib/0.1.0-0123456789ab --bind /work/p1/notebooks --bind "$session" --bind "$outside" '/work/p1/images/pangeo 1.sif' "$python" -m hpclaunch.node.agent "$session" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null' TERM INT
wait "$agent"
code=$?
while kill -0 "$agent" 2>/dev/null; do # a signal ends wait early, the agent is still tidying up
    wait "$agent"
    code=$?
done
leave_outside
finish "$code"
