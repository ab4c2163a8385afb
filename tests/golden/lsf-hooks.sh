#!/bin/bash
#BSUB -J hpclaunch-lsf-1-0123abcd
#BSUB -o /dev/null
#BSUB -W 90
#BSUB -n 2
#BSUB -R "select[type==any] span[hosts=1] rusage[mem=2]"
#BSUB -q normal
#BSUB -G climate
# hpclaunch session lsf-1 on lsf: JupyterLab on a compute node.
exec >>/home/alice/.hpclaunch/sessions/lsf-1-0123abcd/job.log 2>&1 || exit 1

session=/home/alice/.hpclaunch/sessions/lsf-1-0123abcd
told= # the exit status, where it is not the agent's
exec </dev/null

epilogue() ( # the site's own, when all has ended with the exit code $1; it changes nothing
    trap '' TERM INT
echo "ended with $1"
rm -rf "/local/$SLURM_JOB_ID"
)

finish() { # the last word of the job, read by the laptop: its exit code
    (
        umask 077
        printf '{"nonce": "%s", "exit": %d}\n' 0123abcd "$1" >"$session/.exit.json" &&
            mv -f "$session/.exit.json" "$session"/exit.json
    )
    epilogue "$1"
    exit "${told:-$1}"
}
cd "$session" || exit 1
trap 'finish 143' TERM INT # until the agent is there to be told

# The site's own, before everything else.
ulimit -s unlimited
export http_proxy=http://proxy:3128
set +eu # in case the lines above have set them

export PYTHONPATH=/home/alice/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=/opt/site-env/bin/python
if ! command -v "$python" >/dev/null; then
    echo "hpclaunch: the environment's interpreter $python is not here ($HOSTNAME)" >&2
    finish 127
fi

# The scheduler ends jobs by these signals, and knows by the exit status alone what it did. They are
# for this shell; the agent and its children go on until the agent is told.
trap '' INT USR2

"$python" -m hpclaunch.node.agent "$session" &
agent=$!
trap 'kill -TERM "$agent" 2>/dev/null' TERM
trap 'told=$((128 + $(kill -l INT))); kill -TERM "$agent" 2>/dev/null' INT
trap 'told=$((128 + $(kill -l USR2))); kill -TERM "$agent" 2>/dev/null' USR2
wait "$agent"
code=$?
while kill -0 "$agent" 2>/dev/null; do # a signal ends wait early, the agent is still tidying up
    wait "$agent"
    code=$?
done
finish "$code"
