"""The failures a session can meet: one table, from which tests and ``docs/failures.md`` are made.

In a text that is compared, ``…`` stands for anything within a line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["FAILURES", "HARMLESS", "Failure", "Harmless", "says"]

_LOGIN = ("openssh", "paramiko")
_BOTH = ("local", "openssh")


@dataclass(frozen=True)
class Failure:
    """One failure: how it is brought about, and what is said then.

    Attributes
    ----------
    name : str
        With ``_`` for ``-``, the function of `tests.e2e.provoke` that brings it about.
    title, provoked : str
        For the reader of the documentation.
    error, next : str
        What ``error:`` and ``hint:`` must say.
    said, log : str
        A line that the site must have said, and one of the job's log; empty where there is none.
    shown : str
        Regular expression for Slurm's ``STATE|REASON`` from which 5 s are counted; empty where the
        scheduler shows nothing.
    on : tuple of str
        Site ``local``, or the container cluster by a transport.
    long : bool
        Whether only ``make test-long`` does it on the cluster, because it takes more than about
        40 s there, or because it is found out by the session's own process on the node, as on site
        ``local``; there it is never left out.
    again_by : tuple of str
        Transports of `on` that have no part in it: by them only ``make test-long`` does it.
    on_record : bool
        Whether `why` can say it again: not where another session has the name.
    daemons : bool
        Whether a daemon or a node of the cluster is stopped for it.
    batch : bool
        Whether `hpclaunch batch --wait` meets it, which shows the job's log as it comes.
    """

    name: str
    title: str
    provoked: str
    error: str
    next: str
    said: str = ""
    log: str = ""
    shown: str = ""
    on: tuple[str, ...] = ("openssh",)
    long: bool = False
    again_by: tuple[str, ...] = ()
    on_record: bool = True
    daemons: bool = False
    batch: bool = False

    def is_long(self, site: str) -> bool:
        """Whether only ``make test-long`` does it on one of the sites of `on`."""
        return site != "local" and (self.long or site in self.again_by)


@dataclass(frozen=True)
class Harmless:
    """An accident that must not end a session; `told` is what the terminal says meanwhile.

    `long` is as in `Failure`.
    """

    name: str
    title: str
    provoked: str
    told: str
    long: bool = False


def says(text: str, wanted: str) -> bool:
    """Whether a line of `text` holds `wanted`, in which ``…`` stands for anything."""
    pattern = ".*".join(map(re.escape, wanted.split("…")))
    return re.search(pattern, text) is not None


_ENDED = "job … of session … on …"

FAILURES = (
    # The way to the site
    Failure(
        "wrong-host",
        "Wrong host",
        "a login host whose name nobody knows",
        "no connection to no-such-host.invalid",
        "check the host name, the network or VPN, and the site's status page",
        said="Name or service not known",
        on=_LOGIN,
    ),
    Failure(
        "closed-port",
        "Nobody listens",
        "a port of the login host that nobody listens on",
        "no connection to 127.0.0.1",
        "check the host name, the network or VPN, and the site's status page",
        said="Connection refused",
        on=_LOGIN,
    ),
    Failure(
        "refused-key",
        "Refused key",
        "a new key that the site does not know",
        "hpclaunch-login did not let us in (it accepts: publickey)",
        "check user name and key; is the key's public half on file at the site?",
        said="Permission denied",
        on=_LOGIN,
    ),
    Failure(
        "changed-host-key",
        "Changed host key",
        "another host key on record for the login host",
        "the host key of hpclaunch-login is not the one we know; nothing was sent",
        "ask the site whether its key has changed; if so, ssh-keygen -R HOST and log in",
        said="SHA256:",
        on=_LOGIN,
    ),
    # The request
    Failure(
        "unknown-partition",
        "Unknown partition",
        "--queue with a name that Slurm does not know, and a profile without queues",
        "Slurm refused the job",
        "`sinfo` lists the partitions; give one with --queue",
        said="Invalid partition name specified",
    ),
    Failure(
        "invalid-account",
        "Invalid account",
        "--account with a name that Slurm does not know",
        "Slurm refused the job",
        "give the account with --account",
        said="Invalid account or account/partition combination specified",
    ),
    Failure(
        "memory-of-no-node",
        "More memory than any node has",
        "--memory 9000MB where nodes have 8000 MB, and a profile without queues",
        "Slurm refused the job",
        "ask for less",
        said="Memory specification can not be satisfied",
    ),
    Failure(
        "impossible-memory",
        "Impossible memory, accepted",
        "a partition with MaxMemPerNode=500 and a job that asks for more: Slurm accepts it, and "
        "it stays pending for ever",
        "job … was accepted by docker and can never start: …",
        "ask for less, or for another queue",
        said="PENDING (…)",
        shown=r"PENDING\|(MaxMemPerLimit|PartitionConfig)",
    ),
    Failure(
        "impossible-walltime",
        "Impossible walltime, accepted",
        "2 hours in a partition of 10 minutes: Slurm accepts it, and it stays pending for ever",
        "job … was accepted by docker and can never start: …",
        "ask for less, or for another queue",
        said="PENDING (Partition…)",
        shown=r"PENDING\|Partition(TimeLimit|Config)",
    ),
    Failure(
        "impossible-partition",
        "A partition for others, accepted",
        "a partition that the account may not use: Slurm accepts it, and it stays pending for ever",
        # 22.05 says it in a sentence, newer releases by PartitionConfig.
        "job … was accepted by docker and can never start: the … account …",
        "ask for less, or for another queue",
        said="PENDING (…",
        shown=r"PENDING\|(Job's account not permitted|PartitionConfig)",
    ),
    Failure(
        "second-start",
        "A second start of the same name",
        "`start --name` with the name of a live session, which goes on unharmed",
        "session … exists already (…, site docker)",
        "`hpclaunch attach …` opens it, `hpclaunch stop …` ends it, --name chooses another name",
        on_record=False,
    ),
    # The directory on the site
    Failure(
        "full-disk",
        "Full file system",
        "paths.base on a file system (tmpfs of 64 MB) without a free byte",
        "hpclaunch's own modules could not be put into … on docker",
        "is the file system full, read-only or over its quota?",
        said="No space left on device",
    ),
    Failure(
        "full-at-submit",
        "Full file system, hpclaunch's modules already there",
        "paths.base on a file system that fills up between two sessions",
        "the directory of session … could not be made on docker; nothing was submitted",
        "is the file system full, read-only or over its quota?",
        said="No space left on device",
    ),
    Failure(
        "read-only-directory",
        "Read-only directory",
        "paths.base on a file system that is mounted read-only",
        "hpclaunch's own modules could not be put into … on docker",
        "is the file system full, read-only or over its quota?",
        said="Read-only file system",
    ),
    Failure(
        "forbidden-directory",
        "Somebody else's directory",
        "paths.base below a directory without the right to write",
        "hpclaunch's own modules could not be put into … on docker",
        "is the file system full, read-only or over its quota?",
        said="Permission denied",
    ),
    Failure(
        "quota",
        "Quota",
        "a `tar` on the PATH of the login node that fails as over quota (the kernel of our test "
        "machines has no quota to set, so these words are a stand-in's)",
        "the directory of session … could not be made on docker; nothing was submitted",
        "is the file system full, read-only or over its quota?",
        said="Disk quota exceeded",
    ),
    # The environment and Jupyter
    Failure(
        "no-jupyterlab",
        "Environment without JupyterLab",
        "an environment whose Python has no jupyterlab",
        "the Python environment of … has no jupyterlab (job …)",
        "install jupyterlab into that environment, or choose another with --environment",
        log="hpclaunch agent: no-jupyterlab: …",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
    ),
    Failure(
        "no-python",
        "Environment without Python",
        "an environment whose interpreter is not on the node",
        "the environment 'default' has no working Python on the node (job …)",
        "check [environments.default] of the profile of …",
        log="hpclaunch: the environment's interpreter … is not here (…)",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        long=True,
    ),
    Failure(
        "jupyter-dies",
        "Jupyter that dies at once",
        "a jupyter_server_config.py in the user's configuration that exits",
        "Jupyter ended with exit code 3 (job …)",
        "a faulty file in ~/.jupyter or a broken extension is the usual reason",
        log="the user's own configuration gives up",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        long=True,
    ),
    Failure(
        "jupyter-hangs",
        "Jupyter that hangs",
        "a jupyter_server_config.py that never returns, and session.start_timeout = 5",
        "Jupyter did not answer within 5 s (job …)",
        "a slow filesystem under … is the usual reason",
        log="hpclaunch agent: jupyter-hangs: …",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        long=True,
    ),
    # The end of the job
    Failure(
        "cancelled-while-waiting",
        "Cancelled while it waits",
        "scancel of a job in the queue, by another program",
        f"{_ENDED} was cancelled from outside while it was starting",
        "if it was not you, ask the site's help desk",
        said="CANCELLED",
        shown=r"CANCELLED\|",
    ),
    Failure(
        "cancelled-while-starting",
        "Cancelled while it starts",
        "scancel of a job whose Jupyter does not answer yet, by another program",
        f"{_ENDED} was cancelled from outside while it was starting",
        "if it was not you, ask the site's help desk",
        said="CANCELLED",
        log="CANCELLED AT",
        shown=r"CANCELLED\|",
    ),
    Failure(
        "killed-while-starting",
        "Killed while it starts",
        "SIGKILL for the session's own process on the node",
        "the session's own process on the node was killed by SIGKILL while it was starting (job …)",
        "somebody or something on the node killed it: too much memory is the usual reason",
        log="Killed",
        shown=r"FAILED\|",
        on=_BOTH,
    ),
    Failure(
        "cancelled-after-ready",
        "Cancelled after it was ready",
        "scancel of a session in use, by another program",
        f"{_ENDED} was cancelled from outside",
        "if it was not you, ask the site's help desk",
        said="CANCELLED",
        log="hpclaunch agent: ending: received SIGTERM",
        shown=r"CANCELLED\|",
        on=_LOGIN,
        again_by=("paramiko",),
    ),
    Failure(
        "out-of-memory-while-starting",
        "Out of memory while it starts",
        "set-up lines that use more than --memory (the limit is Slurm's own: jobacct_gather with "
        "OverMemoryKill, which looks every 2 s; the job ends as it likes, the log tells)",
        f"{_ENDED} was killed because it used more memory than it asked for while it was starting",
        "start again with more --memory",
        log="…exceeded…memory limit",
        shown=r"(FAILED|CANCELLED|OUT_OF_MEMORY)\|",
    ),
    Failure(
        "out-of-memory",
        "Out of memory in a notebook",
        "a cell that uses more than --memory (the same limit)",
        f"{_ENDED} was killed because it used more memory than it asked for",
        "start again with more --memory",
        log="…exceeded…memory limit",
        shown=r"(FAILED|CANCELLED|OUT_OF_MEMORY)\|",
    ),
    Failure(
        "walltime-while-starting",
        "Walltime over before it was ready",
        "a Jupyter that hangs, and a short walltime",
        f"{_ENDED} reached its walltime of 00:0… while it was starting",
        "start again with a longer --walltime",
        said="TIMEOUT",
        shown=r"TIMEOUT\|",
        on=_BOTH,
        long=True,
    ),
    Failure(
        "walltime",
        "Walltime over",
        "a session in use, and a short walltime",
        f"{_ENDED} reached its walltime of 00:0…",
        "start again with a longer --walltime",
        said="TIMEOUT",
        log="hpclaunch agent: ending: received SIGTERM",
        shown=r"TIMEOUT\|",
        on=_BOTH,
        long=True,
    ),
    Failure(
        "node-failure",
        "Node failure",
        "every process of the node stopped, so that SlurmdTimeout (20 s here) passes",
        f"{_ENDED} lost its node: the scheduler reports a node failure",
        "nothing of yours is wrong; start again",
        said="NODE_FAIL",
        shown=r"NODE_FAIL\|",
        long=True,
        daemons=True,
    ),
    Failure(
        "scheduler-down-at-submit",
        "Scheduler down at the submit",
        "a slurm.conf that names a host on which no slurmctld runs",
        "Slurm refused the job",
        "Slurm's controller does not answer; try again later",
        said="Unable to contact slurm controller",
    ),
    Failure(
        "foreign-rendezvous",
        "A foreign rendezvous",
        "a rendezvous.json with another session's nonce in the session's directory",
        "the directory of session … holds a rendezvous of another session; nothing was connected",
        "look who wrote …/rendezvous.json, then start again",
        on=_BOTH,
    ),
    Failure(
        "foreign-server",
        "A foreign server at the rendezvous",
        "a rendezvous.json with the session's nonce that leads to a server of somebody else",
        "session … runs, but cannot be reached from here",
        "`hpclaunch attach …` tries again",
        said="certificate",
        long=True,
    ),
    # Batch jobs
    Failure(
        "batch-no-script",
        "A script that is not there",
        "a path of the site at which nothing lies",
        "there is no script ~/no/such.py on docker that you may read",
        "give the path as the site's login node sees it; a script that is here on the laptop is "
        "sent along",
        said="No such file or directory",
        batch=True,
    ),
    Failure(
        "batch-no-dask-mpi",
        "Environment without dask-mpi",
        "an environment whose Python has neither mpi4py nor dask-mpi",
        "the Python environment of … has no mpi4py and no dask-mpi… (job …)",
        "install mpi4py and dask-mpi into that environment",
        log="hpclaunch agent: no-mpi: …",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        batch=True,
    ),
    Failure(
        "batch-no-mpi-library",
        "MPI library missing",
        "an mpi4py that does not find the library it was built for (a stand-in's words)",
        "mpi4py of … cannot load an MPI library (job …)",
        "install mpi4py and dask-mpi into that environment, with the site's MPI library loaded",
        log="libmpi.so.12: cannot open shared object file",
        on=("local",),
        batch=True,
    ),
    Failure(
        "batch-no-launcher",
        "Launcher missing",
        "a program under [mpi] launcher that is not on the node",
        "no-such-launcher is not here, so no rank can be started (job …)",
        "name one that fits under [mpi] launcher in the profile",
        log="hpclaunch agent: no-launcher: …",
        on=("local",),
        batch=True,
    ),
    Failure(
        "batch-mismatched-launcher",
        "Launcher and MPI library do not fit",
        "MPICH's ranks started by `srun --mpi=none`; locally by a script that only starts so many",
        "… ranks were started, but each thinks that there are 1 of them: the launcher and the MPI "
        "library (MPICH…) do not fit together (job …)",
        "name one that fits under [mpi] launcher in the profile",
        log="hpclaunch agent: mpi-mismatch: …",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        batch=True,
    ),
    Failure(
        "batch-ranks-never-meet",
        "Ranks that never meet",
        "a launcher that starts nothing and goes on, and session.start_timeout = 3",
        "the MPI ranks did not form a Dask cluster within 3 s (job …)",
        "launcher and MPI library that do not fit together are the usual reason",
        log="hpclaunch agent: mpi-hangs: …",
        on=("local",),
        batch=True,
    ),
    Failure(
        "batch-over-committed",
        "More memory than the node has",
        "--memory 1000TB on this machine (a scheduler refuses that at the submit)",
        "the ranks of a node would use 1000000.0 GB, and the job has … GB there (job …)",
        "ask for less --memory, or for a queue whose nodes have more",
        log="hpclaunch agent: over-committed: …",
        on=("local",),
        batch=True,
    ),
    Failure(
        "batch-script-raises",
        "A script that raises",
        "a script whose last line raises",
        "run.py ended with exit code 1 (job … of batch … on …)",
        "`hpclaunch logs …` shows its whole output; mend it, or run it as it was",
        log="ValueError: not good enough",
        shown=r"(FAILED|COMPLETING)\|",
        on=_BOTH,
        long=True,
        batch=True,
    ),
    Failure(
        "batch-rank-dies",
        "A rank that dies",
        "SIGKILL for the process of a worker",
        "… ended (…); with one rank all of them end (job …)",
        "too much memory is the usual reason: ask for more --memory, or for fewer workers on each "
        "node",
        log="hpclaunch agent: rank-died: …",
        shown=r"(FAILED|COMPLETING|CANCELLED)\|",
        on=_BOTH,
        long=True,
        batch=True,
    ),
    Failure(
        "batch-walltime",
        "Walltime over",
        "a script that goes on, and a short walltime",
        "job … of batch … on … reached its walltime of 00:0…",
        "start again with a longer --walltime",
        said="TIMEOUT",
        log="goes on",
        shown=r"TIMEOUT\|",
        long=True,
        batch=True,
    ),
    Failure(
        "batch-cancelled",
        "Cancelled from outside",
        "scancel while the script runs, by another program",
        "job … of batch … on … was cancelled from outside",
        "if it was not you, ask the site's help desk",
        said="CANCELLED",
        log="goes on",
        shown=r"CANCELLED\|",
        long=True,
        batch=True,
    ),
)

HARMLESS = (
    Harmless(
        "scheduler-silent-at-submit",
        "Scheduler silent at the submit",
        "slurmctld stopped (SIGSTOP) until sbatch gives up: it may take the job all the same, and "
        "does once it goes on",
        "sbatch did not tell the job's id; the job may be in the queue all the same; looking for "
        "it by its name",
    ),
    Harmless(
        "scheduler-silent",
        "Scheduler silent for 15 s",
        "slurmctld stopped (SIGSTOP) while the job starts: unknown is not gone",
        "",
    ),
    Harmless(
        "scheduler-silent-for-long",
        "Scheduler silent for 60 s",
        "the same for a minute, in which the job takes its time",
        "the scheduler does not answer now",
        long=True,
    ),
    Harmless(
        "scheduler-restarted",
        "Scheduler restarted",
        "the controller's container restarted while the job starts",
        "",
        long=True,
    ),
    Harmless(
        "accounting-down",
        "slurmdbd down",
        "slurmdbd stopped (SIGSTOP) during the whole start",
        "",
    ),
    Harmless(
        "sshd-restarted",
        "Login node's sshd restarted",
        "sshd told to start anew and our connection's own sshd killed while the job starts",
        "",
    ),
)
