#!/bin/bash
#HPCLAUNCH --job-name=hpclaunch-local-1-0123abcd
#HPCLAUNCH --output=/home/alice/.local/share/hpclaunch/sessions/local-1-0123abcd/job.log
#HPCLAUNCH --time=24:00:00
# hpclaunch session local-1 on local: JupyterLab on a compute node.

session=/home/alice/.local/share/hpclaunch/sessions/local-1-0123abcd
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

export PYTHONPATH=/home/alice/.local/share/hpclaunch/lib/0.1.0-0123456789ab"${PYTHONPATH:+:$PYTHONPATH}"
python=/home/alice/project/.venv/bin/python
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
