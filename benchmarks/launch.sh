#!/bin/bash
# The limit for a launch: what a person would write by hand with ssh, sbatch, a poll every 0.1 s and
# ssh -L. Starts JupyterLab on a compute node and waits for its first authenticated answer.
# usage: launch.sh SSH_CONFIG HOST PYTHON   prints the seconds, then cleans up
set -eu
config=$1
host=$2
python=$3
folder=$(mktemp -d /tmp/launch-XXXXXX)
socket=$folder/ssh
token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
port=$((20000 + RANDOM % 20000))
began=$(date +%s.%N)
remote=".launch-$$"
go() { ssh -F "$config" -S "$socket" "$host" "$@"; }
ssh -F "$config" -S "$socket" -M -N -f "$host"
job=$(go "mkdir -m 700 $remote && cd $remote && sbatch --parsable -c 1 --mem=1431M -t 60 -o log" <<JOB
#!/bin/bash
umask 077
export JUPYTER_RUNTIME_DIR=\$HOME/$remote JUPYTER_TOKEN=$token
exec "$python" -m jupyterlab --no-browser --ip=0.0.0.0 --port=0 --ServerApp.allow_remote_access=True
JOB
)
trap 'go "scancel $job; rm -rf $remote" || true; ssh -F "$config" -S "$socket" -O exit "$host" 2>/dev/null; rm -rf "$folder"' EXIT
until card=$(go "cat $remote/jpserver-*.json" 2>/dev/null) && [ -n "$card" ]; do sleep 0.1; done
there=$(sed -n 's/.*"port": \([0-9]*\).*/\1/p' <<<"$card")
node=$(sed -n 's/.*"hostname": "\([^"]*\)".*/\1/p' <<<"$card")
[ "$node" != 0.0.0.0 ] || node=$(go "squeue -h -j $job -o %N")
ssh -F "$config" -S "$socket" -O forward -L "127.0.0.1:$port:$node:$there" "$host"
until curl -sf -o /dev/null -H "Authorization: token $token" "http://127.0.0.1:$port/api/status"; do sleep 0.1; done
ended=$(date +%s.%N)
awk -v a="$began" -v b="$ended" 'BEGIN { printf "%.3f\n", b - a }'
