#!/bin/bash
#SBATCH --job-name=hpclaunch-andes-1-0123abcd
#SBATCH --output=/home/jane/.hpclaunch/sessions/andes-1-0123abcd/job.log
#SBATCH --time=04:00:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem=0
#SBATCH --partition=batch
#SBATCH --account=ab12
#SBATCH --no-requeue
# hpclaunch batch andes-1 on andes: a script on Dask, 18 ranks by MPI.

session=/home/jane/.hpclaunch/sessions/andes-1-0123abcd
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
module load miniforge3/24.11.3-2 || lacking 'the module miniforge3/24.11.3-2 cannot be loaded'

export PYTHONPATH=/home/jane/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=python3
if ! command -v "$python" >/dev/null; then
    echo "hpclaunch: the environment's interpreter $python is not here ($HOSTNAME)" >&2
    finish 127
fi

"$python" -m hpclaunch.node.batch "$session" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null' TERM INT
wait "$agent"
code=$?
while kill -0 "$agent" 2>/dev/null; do # a signal ends wait early, the agent is still tidying up
    wait "$agent"
    code=$?
done
finish "$code"
