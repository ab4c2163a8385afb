"""Bring about each failure of the table, for real.

Every function is named like its failure and returns the command that meets it. Machines
and daemons that were disturbed are put right again in ``stage.after``.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from hpclaunch.tls import make_credentials
from tests.e2e.stage import Stage
from tests.support.cluster import DOCKER, bring_up
from tests.support.launch import eventually, kernel, processes_with

Start = subprocess.Popen[str]

_ANY = ("--set", "queues=[]")  # a profile that knows no limits
_EAT = "b = b'x' * (900 * 2**20); import time; time.sleep(60)"
_DIES = "import sys; print('the user\\'s own configuration gives up', flush=True); sys.exit(3)\n"
_HANGS = "import time; print('hanging', flush=True); time.sleep(600)\n"


def _setup(*lines: str) -> tuple[str, ...]:
    """Options for these lines of shell before the agent starts."""
    return "--set", f"environments.default.setup={json.dumps(lines)}"


def _configuration(stage: Stage, text: str) -> tuple[str, ...]:
    """Options for a Jupyter with this configuration file."""
    folder = stage.put("jupyter_server_config.py", text)
    return _setup(f"export JUPYTER_CONFIG_DIR={folder}")


def _hanging(stage: Stage, *options: str) -> Start:
    """A start whose Jupyter is just hanging."""
    process = stage.start(*_configuration(stage, _HANGS), *options)
    stage.await_log("hanging")
    return process


def _ssh_config(stage: Stage, key: str, value: Path) -> tuple[str, str]:
    """A copy of the cluster's SSH configuration with another value."""
    lines = (DOCKER / "run" / "ssh_config").read_text().splitlines()
    changed = [f'    {key} "{value}"' if key in line.split() else line for line in lines]
    assert changed != lines
    path = stage.folder / "ssh_config"
    path.write_text("\n".join(changed) + "\n")
    return "--set", f"login.ssh_config={path}"


def _new_key(stage: Stage) -> Path:
    key = stage.folder / "new_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


# The way to the site


def wrong_host(stage: Stage) -> Start:
    return stage.start("--set", "login.host=no-such-host.invalid")


def closed_port(stage: Stage) -> Start:
    return stage.start("--set", "login.host=127.0.0.1", "--set", "login.port=1")


def refused_key(stage: Stage) -> Start:
    return stage.start(*_ssh_config(stage, "IdentityFile", _new_key(stage)))


def changed_host_key(stage: Stage) -> Start:
    other = _new_key(stage).with_suffix(".pub").read_text().split()[:2]
    known = stage.folder / "known_hosts"
    places = {line.split()[0] for line in (DOCKER / "run" / "known_hosts").read_text().splitlines()}
    known.write_text("".join(f"{place} {' '.join(other)}\n" for place in places))
    return stage.start(*_ssh_config(stage, "UserKnownHostsFile", known))


# The request


def unknown_partition(stage: Stage) -> Start:
    return stage.start(*_ANY, "--queue", "nosuch")


def invalid_account(stage: Stage) -> Start:
    return stage.start("--account", "nosuch")


def memory_of_no_node(stage: Stage) -> Start:
    return stage.start(*_ANY, "--memory", "9000MB")


def impossible_memory(stage: Stage) -> Start:
    partition = f"PartitionName=fx{stage.name}"
    stage.cluster.root(
        "controller", "scontrol", "create", partition, "Nodes=c[1-2]", "MaxMemPerNode=500"
    )
    stage.after.callback(stage.cluster.root, "controller", "scontrol", "delete", partition)
    return stage.start(*_ANY, "--queue", f"fx{stage.name}")


def impossible_walltime(stage: Stage) -> Start:
    return stage.start(*_ANY, "--queue", "short", "--walltime", "2:00:00")


def impossible_partition(stage: Stage) -> Start:
    return stage.start(*_ANY, "--queue", "proj2only")


def second_start(stage: Stage) -> Start:
    stage.start("--set", 'scheduler.directives=["--begin=now+1hour"]')
    eventually(lambda: stage.record().get("job_id"), what="the first is submitted")
    stage.after.callback(stage.laptop.run, "stop", stage.name)
    return stage.start()


# The directory on the site


def _small(stage: Stage) -> str:
    """A directory of alice's on the login node's 64 MB tmpfs, which gets full afterwards."""
    place = f"/dev/shm/fx-{stage.name}"
    stage.cluster.ssh(f"mkdir -m 700 {place}")
    stage.after.callback(stage.cluster.ssh, f"rm -rf {place}")
    return place


def _fill(stage: Stage, place: str) -> None:
    stage.cluster.ssh(
        f"cat /dev/zero >{place}/everything 2>/dev/null || test -s {place}/everything"
    )


def _bring_modules(stage: Stage, *options: str) -> None:
    """Let a start that is refused later put hpclaunch's modules in place."""
    stage.laptop.run(
        "start", stage.place.site, "--name", stage.name, "--account", "nosuch", "--no-browser",
        *stage.place.options, *options,
    )  # fmt: skip


def full_disk(stage: Stage) -> Start:
    place = _small(stage)
    _fill(stage, place)
    return stage.start("--set", f"paths.base={place}")


def full_at_submit(stage: Stage) -> Start:
    place = _small(stage)
    _bring_modules(stage, "--set", f"paths.base={place}")
    _fill(stage, place)
    return stage.start("--set", f"paths.base={place}")


def read_only_directory(stage: Stage) -> Start:
    return stage.start("--set", "paths.base=/sys/hpclaunch")


def forbidden_directory(stage: Stage) -> Start:
    return stage.start("--set", "paths.base=/opt/hpclaunch")


def quota(stage: Stage) -> Start:
    _bring_modules(stage)
    words = "tar: session.json: Cannot write: Disk quota exceeded"
    folder = stage.put("tar", f"#!/bin/sh\ncat >/dev/null\necho '{words}' >&2\nexit 2\n")
    return stage.start("--set", f'login.prologue=["PATH={folder}:$PATH"]')


# The environment and Jupyter


def _bare(stage: Stage) -> tuple[str, str]:
    """Options for an environment that has nothing."""
    if not stage.place.is_local:
        return "--environment", "bare"
    bare = stage.folder / "bare"
    subprocess.run(["python3", "-m", "venv", "--without-pip", bare], check=True)
    return "--set", f"environments.default.python={bare}/bin/python"


def no_jupyterlab(stage: Stage) -> Start:
    return stage.start(*_bare(stage))


def no_python(stage: Stage) -> Start:
    return stage.start("--set", "environments.default.python=/nowhere/bin/python")


def jupyter_dies(stage: Stage) -> Start:
    return stage.start(*_configuration(stage, _DIES))


def jupyter_hangs(stage: Stage) -> Start:
    return stage.start(*_configuration(stage, _HANGS), "--set", "session.start_timeout=5")


# The end of the job


def _scancel(stage: Stage) -> None:
    stage.cluster.ssh(f"scancel {stage.record()['job_id']}")


def cancelled_while_waiting(stage: Stage) -> Start:
    process = stage.start("--set", 'scheduler.directives=["--begin=now+1hour"]')
    eventually(lambda: stage.record().get("job", {}).get("state"), what="it waits")
    _scancel(stage)
    return process


def cancelled_while_starting(stage: Stage) -> Start:
    process = _hanging(stage)
    _scancel(stage)
    return process


def killed_while_starting(stage: Stage) -> Start:
    process = _hanging(stage)
    if stage.place.is_local:
        agents = processes_with(f"hpclaunch.node.agent\0{stage.laptop.home}")
        assert len(agents) == 1
        os.kill(agents[0], signal.SIGKILL)
        return process
    ((node, number),) = stage.on_node(f"^[^ ]*python[^ ]* -m hpclaunch.node.agent .*/{stage.name}-")
    stage.cluster.root(node, "kill", "-KILL", number)
    return process


def cancelled_after_ready(stage: Stage) -> Start:
    process, _ = stage.ready()
    _scancel(stage)
    return process


def out_of_memory_while_starting(stage: Stage) -> Start:
    eat = f'/opt/site-env/bin/python -c "{_EAT}"'
    return stage.start("--memory", "400MB", *_setup(eat))


def out_of_memory(stage: Stage) -> Start:
    process, document = stage.ready("--memory", "500MB")

    def eat() -> None:
        with kernel(document) as running:
            running.run(_EAT)

    threading.Thread(target=_quietly, args=(eat,), daemon=True).start()
    return process


def _quietly(work: object) -> None:
    """Run something that is meant to be cut off."""
    assert callable(work)
    try:
        work()
    except Exception as error:
        print(f"cut off: {error!r}")


def walltime_while_starting(stage: Stage) -> Start:
    seconds = "0:00:08" if stage.place.is_local else "0:01:00"
    return stage.start(*_configuration(stage, _HANGS), "--walltime", seconds)


def walltime(stage: Stage) -> Start:
    process, _ = stage.ready("--walltime", "0:00:12" if stage.place.is_local else "0:01:00")
    return process


def node_failure(stage: Stage) -> Start:
    process, _ = stage.ready("--set", 'scheduler.directives=["--nodelist=c2", "--exclusive"]')
    stage.after.callback(revive, stage)
    stage.cluster.root("c2", "sh", "-c", "kill -STOP -1")
    return process


def revive(stage: Stage) -> None:
    """Let the node of `node_failure` go on, and wait until Slurm has it back."""
    stage.cluster.root("c2", "sh", "-c", "kill -CONT -1")
    eventually(
        lambda: "idle" in stage.cluster.ssh("sinfo -h -n c2 -p compute -o %t"),
        timeout=60,
        what="c2 is back",
    )


def foreign_rendezvous(stage: Stage) -> Start:
    text = json.dumps({"version": 1, "nonce": "00000000", "addresses": ["127.0.0.1"], "port": 22})
    return stage.start(*_setup(f"printf '%s' '{text}' >\"$session\"/rendezvous.json", "sleep 60"))


def foreign_server(stage: Stage) -> Start:
    """Another session's server, with a certificate of that session's authority."""
    credentials = make_credentials()
    stage.put("cert.pem", credentials["tls/jupyter.pem"].decode())
    stage.put("key.pem", credentials["tls/jupyter.key"].decode())
    folder = stage.put("server.py", _SERVER)
    server = subprocess.Popen(
        ["ssh", "-F", str(DOCKER / "run" / "ssh_config"), "hpclaunch-login",
         f"cd {folder} && timeout 100 /usr/bin/python3 server.py"],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    stage.after.callback(server.wait)
    stage.after.callback(server.kill)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    text = (
        '{"version": 1, "nonce": "%s", "addresses": ["127.0.0.1"], "hostname": "c1", '
        f'"port": {port}, "ends_at": null, "dask": null, "timings": {{}}}}'
    )
    write = f'printf \'{text}\' "${{session##*-}}" >"$session"/rendezvous.json'
    return stage.start(*_setup("umask 077", write, "sleep 90"))


_SERVER = """
import http.server, ssl
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


# Batch jobs

_GOES_ON = """
import time
print("goes on", flush=True)
time.sleep(600)
"""
_KILLS = """
import os, signal, time
from distributed import Client
client = Client()
client.submit(lambda: os.kill(os.getpid(), signal.SIGKILL))
time.sleep(600)
"""
_ALONE = """#!/bin/bash
for word; do shift; case $word in --ntasks=*) ranks=${word#*=} ;; --kill*) break ;; esac; done
for ((rank = 0; rank < ranks; rank++)); do "$@" & done
wait
"""
_NO_LIBRARY = """
class rc: pass
def __getattr__(name):
    raise ImportError("libmpi.so.12: cannot open shared object file")
"""


def _launcher(*words: str) -> tuple[str, str]:
    return "--set", f"mpi.launcher={json.dumps(words)}"


def _stand_in(stage: Stage, text: str) -> tuple[str, str]:
    """Options for a launcher that takes srun's options."""
    folder = stage.put("srun", text)
    (Path(folder) / "srun").chmod(0o755)
    return _launcher(f"{folder}/srun")


def batch_no_script(stage: Stage) -> Start:
    return stage.batch("~/no/such.py")


def batch_no_dask_mpi(stage: Stage) -> Start:
    return stage.batch("print('never')", *_bare(stage))


def batch_no_mpi_library(stage: Stage) -> Start:
    hidden = stage.folder / "hidden" / "mpi4py"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text(_NO_LIBRARY)
    path = f"export PYTHONPATH={hidden.parent}"
    return stage.batch("print('never')", *_setup(path))


def batch_no_launcher(stage: Stage) -> Start:
    return stage.batch("print('never')", *_launcher("no-such-launcher"))


def batch_mismatched_launcher(stage: Stage) -> Start:
    if stage.place.is_local:
        return stage.batch("print('never')", *_stand_in(stage, _ALONE))
    return stage.batch("print('never')", *_launcher("srun", "--mpi=none"))


def batch_ranks_never_meet(stage: Stage) -> Start:
    launcher = _stand_in(stage, "#!/bin/sh\nexec sleep 600\n")
    return stage.batch("print('never')", *launcher, "--set", "session.start_timeout=3")


def batch_over_committed(stage: Stage) -> Start:
    return stage.batch("print('never')", "--memory", "1000TB")


def batch_script_raises(stage: Stage) -> Start:
    return stage.batch("raise ValueError('not good enough')")


def batch_rank_dies(stage: Stage) -> Start:
    return stage.batch(_KILLS)


def batch_walltime(stage: Stage) -> Start:
    return stage.batch(_GOES_ON, "--walltime", "0:01:00")


def batch_cancelled(stage: Stage) -> Start:
    process = stage.batch(_GOES_ON)
    eventually(lambda: "goes on" in stage.output(), timeout=60, what="the script runs")
    _scancel(stage)
    return process


# Daemons of the site


def _stop_daemon(stage: Stage, daemon: str) -> None:
    """Stop a daemon of the controller, to be continued at the end at the latest."""
    for number in stage.cluster.root("controller", "pgrep", "-x", daemon).split():
        stage.after.callback(stage.cluster.root, "controller", "kill", "-CONT", number)
        stage.cluster.root("controller", "kill", "-STOP", number)


def _continue_daemon(stage: Stage, daemon: str) -> None:
    for number in stage.cluster.root("controller", "pgrep", "-x", daemon).split():
        stage.cluster.root("controller", "kill", "-CONT", number)


def scheduler_down_at_submit(stage: Stage) -> Start:
    changed = stage.cluster.ssh(
        "sed 's/^SlurmctldHost=.*/SlurmctldHost=login/' /etc/slurm/slurm.conf"
    )
    folder = stage.put("slurm.conf", changed)
    return stage.start("--set", f'login.prologue=["export SLURM_CONF={folder}/slurm.conf"]')


def scheduler_silent_at_submit(stage: Stage) -> Start:
    _bring_modules(stage)
    _stop_daemon(stage, "slurmctld")
    process = stage.start()
    eventually(lambda: "looking for it" in stage.told(), timeout=60, what="sbatch gives up")
    _continue_daemon(stage, "slurmctld")
    return process


def _silence(stage: Stage, seconds: float, preparing: int) -> Start:
    process = stage.start(*_setup(f"sleep {preparing}"))
    stage.await_running()
    _stop_daemon(stage, "slurmctld")
    time.sleep(seconds)
    assert process.poll() is None, stage.told()
    _continue_daemon(stage, "slurmctld")
    return process


def scheduler_silent(stage: Stage) -> Start:
    return _silence(stage, 15, preparing=8)


def scheduler_silent_for_long(stage: Stage) -> Start:
    return _silence(stage, 60, preparing=65)


def scheduler_restarted(stage: Stage) -> Start:
    process = stage.start(*_setup("sleep 20"))
    stage.await_running()
    number = stage.cluster.root("controller", "pgrep", "-x", "slurmctld").split()[0]
    stage.cluster.root("controller", "kill", number, check=False)  # ends with its container
    eventually(_controller_is_gone, timeout=60, what="its container has ended")
    bring_up()
    return process


def _controller_is_gone() -> bool:
    status = subprocess.run([str(DOCKER / "cluster"), "status"], capture_output=True, text=True)
    return re.search(r"^controller +exited", status.stdout, re.MULTILINE) is not None


def accounting_down(stage: Stage) -> Start:
    _stop_daemon(stage, "slurmdbd")
    return stage.start()


def sshd_restarted(stage: Stage) -> Start:
    process = stage.start(*_setup("sleep 8"))
    stage.await_running()
    found = subprocess.run(
        [sys.executable, "-c", _OUR_SSHD, stage.name],
        env=stage.laptop.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    daemon = stage.cluster.root("login", "pgrep", "-o", "-x", "sshd").strip()
    stage.cluster.root("login", "kill", "-HUP", daemon)
    stage.cluster.root("login", "kill", "-KILL", str(int(found.stdout)))
    return process


# The nearest sshd above a command of ours.
_OUR_SSHD = """
import sys
from hpclaunch.keeper.client import KeeperClient
from hpclaunch.sessions.book import Book
from hpclaunch.sessions.way import Way
up = "p=$$; until grep -q '^Name:.sshd' /proc/$p/status; do " \\
     "p=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$p/status); done; echo $p"
with KeeperClient(Way.from_dict(Book().read(sys.argv[1]).target), start=False) as keeper:
    print(keeper.run(["/bin/sh", "-c", up]).stdout)
"""
