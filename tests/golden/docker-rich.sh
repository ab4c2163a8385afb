#!/bin/bash
#SBATCH --job-name=hpclaunch-docker-1-0123abcd
#SBATCH --output='/scratch/100%% mine/hpclaunch/sessions/docker-1-0123abcd/job.log'
#SBATCH --time=18:00:00
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=4
#SBATCH --mem=6199M
#SBATCH --partition=compute
#SBATCH --account='proj 1'
#SBATCH --no-requeue
#SBATCH --constraint='cpu&ssd'
#SBATCH --licenses=scratch,home
#SBATCH --exclusive
# hpclaunch session docker-1 on docker: JupyterLab and Dask on a compute node.

session='/scratch/100% mine/hpclaunch/sessions/docker-1-0123abcd'
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
module load gcc/13.2 || lacking 'the module gcc/13.2 cannot be loaded'
module load netcdf-mpi || lacking 'the module netcdf-mpi cannot be loaded'
export OMP_NUM_THREADS=1
ulimit -c 0
set +eu # in case the lines above have set them

export PYTHONPATH='/scratch/100% mine/hpclaunch/lib/0.1.0-0123456789ab'"${PYTHONPATH:+:$PYTHONPATH}"
python="$HOME"/'my envs/climate/bin/python'
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
