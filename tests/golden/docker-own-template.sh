#!/bin/bash
#SBATCH --job-name=hpclaunch-docker-1-0123abcd
#SBATCH --output=/home/alice/.hpclaunch/sessions/docker-1-0123abcd/job.log
#SBATCH --time=01:00:00
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=1431M
#SBATCH --partition=compute
#SBATCH --no-requeue
# hpclaunch session docker-1 on docker: JupyterLab on a compute node.

session=/home/alice/.hpclaunch/sessions/docker-1-0123abcd
exec </dev/null

epilogue() ( # the site's own, when all has ended with the exit code $1; it changes nothing
    trap '' TERM INT
echo "ended with $1"
rm -rf "/local/$SLURM_JOB_ID"

rm -rf /dev/shm/dask-*
)

finish() { # the last word of the job, read by the laptop: its exit code
    (
        umask 077
        printf '{"nonce": "%s", "exit": %d}\n' 0123abcd "$1" >"$session/.exit.json" &&
            mv -f "$session/.exit.json" "$session"/exit.json
    )
    epilogue "$1"
    exit "$1"
}
cd "$session" || exit 1
trap 'finish 143' TERM INT # until the agent is there to be told

# The site's own, before everything else.
ulimit -s unlimited
export http_proxy=http://proxy:3128

export SCRATCH=/scratch/nobody
set +eu # in case the lines above have set them

lacking() {
    echo "hpclaunch: $1 here ($HOSTNAME)" >&2
    finish 126
}

# The environment, as the site's profile describes it.
/work/tools/prepare docker-1 || lacking "the site's own tools are not"

set +eu # in case the lines above have set them

export PYTHONPATH=/home/alice/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=/opt/site-env/bin/python
if ! command -v "$python" >/dev/null; then
    echo "hpclaunch: the environment's interpreter $python is not here ($HOSTNAME)" >&2
    finish 127
fi

numactl --interleave=all "$python" -m hpclaunch.node.agent "$session" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null' TERM INT
wait "$agent"
code=$?
while kill -0 "$agent" 2>/dev/null; do # a signal ends wait early, the agent is still tidying up
    wait "$agent"
    code=$?
done
finish "$code"
