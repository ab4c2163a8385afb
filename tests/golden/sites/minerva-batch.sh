#!/bin/bash
#BSUB -J hpclaunch-minerva-1-0123abcd
#BSUB -o /dev/null
#BSUB -W 240
#BSUB -n 16
#BSUB -R "span[ptile=8] rusage[mem=7630]"
#BSUB -q express
#BSUB -P ab12
# hpclaunch batch minerva-1 on minerva: a script on Dask, 6 ranks by MPI.
exec >>/home/jane/.hpclaunch/sessions/minerva-1-0123abcd/job.log 2>&1 || exit 1

session=/home/jane/.hpclaunch/sessions/minerva-1-0123abcd
told= # the exit status, where it is not the agent's
exec </dev/null

finish() { # the last word of the job, read by the laptop: its exit code
    (
        umask 077
        printf '{"nonce": "%s", "exit": %d}\n' 0123abcd "$1" >"$session/.exit.json" &&
            mv -f "$session/.exit.json" "$session"/exit.json
    )
    exit "${told:-$1}"
}
cd "$session" || exit 1

export PYTHONPATH=/home/jane/.hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=python3
if ! command -v "$python" >/dev/null; then
    echo "hpclaunch: the environment's interpreter $python is not here ($HOSTNAME)" >&2
    finish 127
fi

# The scheduler ends jobs by these signals, and knows by the exit status alone what it did. They are
# for this shell; the agent and its children go on until the agent is told.
trap '' INT USR2

"$python" -m hpclaunch.node.batch "$session" &
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
