#!/bin/sh
# usage: sh survey.sh [PYTHON...] >REPORT
# Ask a login node what its site is like, for `hpclaunch site init`. Changes nothing, submits
# nothing, and writes only below a temporary directory that it removes. PYTHONs are looked at, too.
#
# Of each question: a line "@ NAME: COMMAND", its stdout behind "| ", its stderr behind "! ",
# and "= STATUS".
set -u
LC_ALL=C
export LC_ALL
umask 077
limit=${HPCLAUNCH_SURVEY_SECONDS:-20} # of a command
most=60000 # lines of an answer
whole=200 # seconds, after which nothing more is asked
began=$(date +%s)
PATH=$PATH:/usr/sbin:/sbin
hung=" "

tmp=$(mktemp -d "${TMPDIR:-/tmp}/survey.XXXXXX") || {
    echo "no temporary directory can be made below ${TMPDIR:-/tmp}" >&2
    exit 1
}
asked=
trap 'kill $asked 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

there() { command -v "$1" >/dev/null 2>&1; }

limited() { # run a program, for $limit seconds at most; 124 and more than 128 are "too long"
    # In the background, as a shell looks after signals while it waits, and not before.
    if there timeout; then
        timeout -k 2 "$limit" "$@" &
        asked=$!
        wait "$asked"
        status=$?
    else
        (
            trap - EXIT INT TERM HUP
            exec "$@"
        ) &
        asked=$!
        (
            trap - EXIT INT TERM HUP
            exec >/dev/null 2>&1
            sleep "$limit"
            kill "$asked"
            sleep 2
            kill -9 "$asked"
        ) &
        watch=$!
        wait "$asked" 2>/dev/null
        status=$?
        kill -9 "$watch" 2>/dev/null # by no signal for which it may still have our traps
        wait "$watch" 2>/dev/null
    fi
    asked=
    return "$status"
}

ask() { # NAME COMMAND...: after a silence nothing more of NAME's kind is asked
    name=$1
    shift
    printf '@ %s: %s\n' "$name" "$(printf '%s' "$*" | tr '\n' ' ')"
    case $hung in
    *" ${name%%.*} "*)
        printf '! not asked: the one before gave no answer\n= 124\n'
        return
        ;;
    esac
    if [ $(($(date +%s) - began)) -gt "$whole" ]; then
        printf '! not asked: there was no time left\n= 124\n'
        return
    fi
    limited "$@" </dev/null >"$tmp/out" 2>"$tmp/err"
    status=$?
    awk -v most="$most" 'NR > most { exit } { print "| " $0 }' "$tmp/out"
    awk 'NR > 50 { exit } { print "! " $0 }' "$tmp/err"
    printf '= %s\n' "$status"
    case $status in 124 | 137 | 143) hung="$hung${name%%.*} " ;; esac
}

shell_of_logins() { # a login shell that knows what people know who log in
    for shell in bash sh; do
        if there "$shell"; then
            printf '%s\n' "$shell"
            return
        fi
    done
}

# Where only login shells find a command: lines of sh after which it is found.
seek() { # COMMAND
    for file in /etc/profile.d/*.sh /etc/profile; do
        if [ -r "$file" ] && case $file in
            /etc/profile) true ;;
            *) grep -Eqi 'slurm|pbs|lsf|torque|batch|sched' "$file" 2>/dev/null ;;
            esac; then
            # shellcheck disable=SC2016
            if limited sh -c '. "$1"; command -v "$2"' sh "$file" "$1" </dev/null >/dev/null 2>&1; then
                printf '. %s\n' "$file"
                return
            fi
        fi
    done
    found=$(limited "$login" -lc "command -v $1" </dev/null 2>/dev/null | tail -n 1)
    case $found in
    /*) ;;
    *) return ;;
    esac
    # shellcheck disable=SC2016
    printf 'PATH=$PATH:%s; export PATH\n' "$(dirname "$found")"
    limited "$login" -lc env </dev/null 2>/dev/null | exports "$theirs"
}

# What the schedulers' commands want to be told, and nothing that may be a secret.
theirs='LSF_ENVDIR\|LSF_BINDIR\|LSF_SERVERDIR\|LSF_LIBDIR\|PBS_CONF_FILE\|SLURM_CONF'
exports() { # NAMES: variables of an environment on stdin, as lines of sh
    sed -n "s/^\\($1\\)=\\([-A-Za-z0-9_./:+@%,]*\\)\$/\\1=\\2; export \\1/p"
}

printf 'hpclaunch-survey 1\n'
login=$(shell_of_logins)
ask site.host uname -n
ask site.full hostname -f
ask site.user id -un
ask site.groups id -Gn
ask site.home printf '%s\n' "$HOME"
ask site.day date +%Y-%m-%d
# shellcheck disable=SC2016
ask site.shell sh -c 'printf "%s\n" "${SHELL:-}"'

for command in sinfo qstat bqueues; do
    if ! there "$command"; then
        seek "$command" >"$tmp/prologue"
        if [ -s "$tmp/prologue" ]; then
            ask "prologue.$command" cat "$tmp/prologue"
            # In another shell: what others have written may do anything to variables of ours.
            # shellcheck disable=SC2016
            limited sh -c '. "$1" >/dev/null 2>&1; env' sh "$tmp/prologue" </dev/null 2>/dev/null |
                exports "PATH\|LD_LIBRARY_PATH\|$theirs" >"$tmp/exports"
            # shellcheck disable=SC1091
            . "$tmp/exports"
        fi
    fi
done

if there sinfo && there scontrol; then
    ask slurm.version sinfo --version
    ask slurm.config scontrol show config
    ask slurm.partitions scontrol show partition -o
    ask slurm.nodes sinfo -a -e -h -o '%P~|~%D~|~%c~|~%m~|~%G~|~%f'
    # shellcheck disable=SC2016
    ask slurm.reserved sh -c 'scontrol show node -o | awk '\''
        / MemSpecLimit=[1-9]| CoreSpecCount=[1-9]/ {
            line = ""
            for (at = 1; at <= NF; at++)
                if ($at ~ /^(Partitions|CPUTot|CPUEfctv|RealMemory|MemSpecLimit|CoreSpecCount)=/)
                    line = line " " $at
            count[line]++
        }
        END { for (line in count) print "Nodes=" count[line] line }'\'
    if there sacctmgr; then
        user=$(id -un)
        ask accounts.user sacctmgr -nP show user "$user" format=User,DefaultAccount
        ask accounts.assoc sacctmgr -nP show assoc "user=$user" \
            format=Cluster,Account,Partition,MaxJobs,MaxSubmit,MaxWall,QOS,DefaultQOS
        ask accounts.qos sacctmgr -nP show qos format=Name,MaxWall,MaxJobsPU,MaxSubmitPU,Flags
    fi
fi

if there qstat; then
    ask pbs.server qstat -Bf
    ask pbs.queues qstat -Qf
    # shellcheck disable=SC2016
    ask pbs.nodes sh -c 'pbsnodes -av >"$1" 2>/dev/null || pbsnodes -a >"$1" || exit
        grep -E \
        "^[^[:space:]]|^ +(state|queue|sharing|resources_available\.[A-Za-z_]+|np|properties|status) =" "$1"
        exit 0' sh "$tmp/nodes"
fi

if there bqueues && there lshosts; then
    ask lsf.id lsid
    ask lsf.queues bqueues -l
    ask lsf.hosts bhosts -w
    ask lsf.machines lshosts -w
    ask lsf.params bparams -a
    ask lsf.params_long bparams -l
    ask lsf.groups bmgroup -w
    # shellcheck disable=SC2016
    ask lsf.conf sh -c 'grep -E "^ *(LSF_UNIT_FOR_LIMITS|LSB_[A-Z_]*MEM[A-Z_]*|RESOURCE_[A-Z_]*) *=" \
        "${LSF_ENVDIR:-/etc}/lsf.conf"'
fi

ask net.addresses ip -o addr
# shellcheck disable=SC2016
ask net.kinds sh -c 'for at in /sys/class/net/*; do
    printf "%s %s %s\n" "${at##*/}" "$(cat "$at/type")" "$(cat "$at/operstate")"; done'

# Directories that variables of a login shell name; only names and values that say so.
limited "$login" -lc env </dev/null 2>/dev/null |
    sed -n 's/^\([A-Z_]*\(SCRATCH\|WORK\|TMPDIR\|PROJECT\|STORE\|DATA\)[A-Z0-9_]*\)=\(\/[^:]*\)$/\1 \3/p' |
    sort -u | head -n 20 >"$tmp/places"
# shellcheck disable=SC2016
look='cd "$1" && df -PT . && pwd -P && if [ -w . ]; then echo writable; else echo read-only; fi'
ask files.HOME sh -c "$look" sh "$HOME"
while read -r variable place; do
    if [ "$place" != "$HOME" ]; then
        ask "files.$variable" sh -c "$look" sh "$place"
        hung=" "  # one that hangs says nothing of the next
    fi
done <"$tmp/places"

# shellcheck disable=SC2016
ask modules.kind "$login" -lc 'type module >/dev/null && echo "lmod=${LMOD_VERSION:-}" &&
    echo "modules=${MODULES_CMD:-${MODULESHOME:-}}"'
ask modules.list "$login" -lc \
    'module -t avail 2>&1 | grep -iE "python|conda|mamba|forge|jupyter|pangeo" | head -n 100'

ask ssh.server sh -c 'cat /etc/ssh/sshd_config.d/*.conf /etc/ssh/sshd_config 2>/dev/null |
    grep -iE "^ *(AllowTcpForwarding|DisableForwarding|Match)[ =]"'
ask ssh.client sh -c 'cat /etc/ssh/ssh_config.d/*.conf /etc/ssh/ssh_config 2>/dev/null |
    grep -iE "^ *(HostbasedAuthentication|Host|Match)[ =]"'

cat >"$tmp/look.py" <<'END'
import sys
print("python=" + sys.version.split()[0])
print("prefix=" + sys.prefix)
try:
    from importlib.metadata import version
except ImportError:
    sys.exit(0)
names = "jupyterlab jupyter-server-proxy distributed dask-jobqueue dask-mpi mpi4py xarray netCDF4"
for name in names.split():
    try:
        print(name + "=" + version(name))
    except Exception:
        pass
END
# In a process of its own: a directory of a dead server would hold us up for ever.
# shellcheck disable=SC2016
limited sh -c '
    for python in "$@"; do
        case $python in
        \~/*) printf "%s\n" "$HOME/${python#\~/}" ;;
        */*) printf "%s\n" "$python" ;;
        *) command -v "$python" ;;
        esac
    done
    command -v python3
    for root in "$HOME" /opt /usr/local /sw /apps /software; do
        for prefix in "$root"/* "$root"/*/envs/* "$root"/.conda/envs/* "$root"/.venv; do
            for name in python python3; do
                if [ -x "$prefix/bin/$name" ]; then
                    printf "%s\n" "$prefix/bin/$name"
                    break
                fi
            done
        done
    done
    sed -n "s|^/.*|&/bin/python|p" "$HOME/.conda/environments.txt" 2>/dev/null
' sh "$@" </dev/null >"$tmp/found" 2>/dev/null
limited "$login" -lc 'command -v python3' </dev/null 2>/dev/null | tail -n 1 >>"$tmp/found"
awk '/^\// && !seen[$0]++ && ++count <= 24' "$tmp/found" >"$tmp/pythons"
count=0
while read -r python; do
    count=$((count + 1))
    ask "python.$count" "$python" -I "$tmp/look.py"
    hung=" "
done <"$tmp/pythons"
printf '@ end\n'
