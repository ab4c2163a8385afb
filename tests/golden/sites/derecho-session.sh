#!/bin/bash
#PBS -N hpclaunch-derecho-1-0123abcd
#PBS -j oe
#PBS -o /dev/null
#PBS -l walltime=04:00:00
#PBS -l select=1:ncpus=4:mpiprocs=1:mem=15259mb
#PBS -q develop
#PBS -A ab12
#PBS -r n
#PBS -m n
#PBS -l job_priority=regular
# hpclaunch session derecho-1 on derecho: JupyterLab on a compute node.
exec >>/home/jane/.hpclaunch/sessions/derecho-1-0123abcd/job.log 2>&1 || exit 1
cd "$PBS_O_WORKDIR" || exit 1

session=/home/jane/.hpclaunch/sessions/derecho-1-0123abcd
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
module load conda || lacking 'the module conda cannot be loaded'
conda activate npl
set +eu # in case the lines above have set them

export PYTHONPATH=/home/jane/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=python3
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
