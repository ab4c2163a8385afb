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
activation="$(cd -- /work/p1/analysis >/dev/null && "$HOME"/.pixi/bin/pixi shell-hook --environment lab --shell bash --frozen --no-install)" || lacking 'the pixi environment lab of /work/p1/analysis cannot be activated'
eval "$activation"
[ -x "$CONDA_PREFIX"/bin/python ] || lacking 'the pixi environment lab of /work/p1/analysis has no Python, or is not'

export PYTHONPATH=/home/alice/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=python
if ! command -v "$python" >/dev/null; then
    echo "hpclaunch: the environment's interpreter $python is not here ($HOSTNAME)" >&2
    finish 127
fi

"$python" -m hpclaunch.node.agent "$session" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null' TERM INT
wait "$agent"
code=$?
while kill -0 "$agent" 2>/dev/null; do # a signal ends wait early, the agent is still tidying up
    wait "$agent"
    code=$?
done
finish "$code"
