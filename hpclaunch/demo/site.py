"""The commands by which make-believe clusters tell of themselves, for what a survey asks."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hpclaunch.demo import site_text
from hpclaunch.demo.spool import Spool, user
from hpclaunch.demo.submits import Command, fail, hang

__all__ = ["LSF", "PBS", "SLURM", "scontrol_show", "tells_of_site"]

_PARTITIONS = {"compute": ("YES", "1-00:00:00"), "short": ("NO", "00:10:00")}
_NODES, _CORES, _MEBIBYTES = 2, 4, 8000
_DOWN = "slurm_load_partitions: Unable to contact slurm controller (connect failure)"
_CONFIG = """\
AccountingStorageEnforce = associations,limits,qos
ClusterName             = tb
JobSubmitPlugins        = (null)
SLURM_VERSION           = 22.05.8"""


def _sinfo(spool: Spool, arguments: Sequence[str]) -> int:
    if "--version" in arguments or "-V" in arguments:
        print("slurm-wlm 22.05.8")
        return 0
    if spool.mode("silence") is not None:
        return fail(_DOWN, 1)
    for name, (default, _) in _PARTITIONS.items():
        row = str(arguments[-1])  # the format
        facts = {"P": f"{name}{'*' if default == 'YES' else ''}", "D": _NODES, "c": _CORES}
        for letter, value in {**facts, "m": _MEBIBYTES, "G": "(null)", "f": "(null)"}.items():
            row = row.replace(f"%{letter}", str(value))
        print(row)
    return 0


def scontrol_show(spool: Spool, what: str) -> int:
    """``scontrol show config``, ``partition -o`` or ``node -o``."""
    if spool.mode("silence") is not None:
        return fail(_DOWN, 1)
    if what == "partition":
        for name, (default, longest) in _PARTITIONS.items():
            print(
                f"PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL "
                f"Default={default} MaxNodes=UNLIMITED MaxTime={longest} MinNodes=0 "
                f"RootOnly=NO OverSubscribe=NO State=UP TotalCPUs={_NODES * _CORES} "
                f"TotalNodes={_NODES} MaxMemPerNode=UNLIMITED"
            )
    elif what == "node":
        for number in range(1, _NODES + 1):
            print(
                f"NodeName=c{number} CPUEfctv={_CORES} CPUTot={_CORES} RealMemory={_MEBIBYTES} "
                f"Partitions={','.join(_PARTITIONS)}"
            )
    else:
        print("Configuration data as of now")
        print(_CONFIG)
        print(f"MaxArraySize            = {spool.mode('array_size') or '1001'}")
    return 0


def _sacctmgr(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail("sacctmgr: error: Problem talking to the database: Connection refused", 1)
    rows = {"user": f"{user()}|proj1", "assoc": "tb|proj1|||||normal|", "qos": "normal||||"}
    for what, row in rows.items():
        if what in arguments:
            print(row)
    return 0


def tells_of_site(arguments: Sequence[str]) -> str | None:
    """What ``qstat -Q -f`` and ``qstat -B -f`` print; None for a question about jobs."""
    letters = {letter for word in arguments if word.startswith("-") for letter in word[1:]}
    if "Q" in letters:
        return site_text.PBS_QUEUES
    return site_text.PBS_SERVER if "B" in letters else None


def _pbsnodes(spool: Spool, arguments: Sequence[str]) -> int:
    if spool.mode("silence") is not None:
        return fail("Connection refused\npbsnodes: cannot connect to server pbs-login", 1)
    sys.stdout.write(site_text.PBS_NODES)
    return 0


def _lsf(text: str, *wanted: str) -> Command:
    """A command that prints `text` where one of the `wanted` options, if any, is given."""

    def run(spool: Spool, arguments: Sequence[str]) -> int:
        if spool.mode("silence") is not None:
            hang()
        unknown = [word for word in arguments if wanted and word not in wanted]
        if unknown:
            return fail(f"invalid option -- '{unknown[0].lstrip('-')}'", 255)
        sys.stdout.write(text)
        return 0

    return run


SLURM: dict[str, Command] = {"sinfo": _sinfo, "sacctmgr": _sacctmgr}
PBS: dict[str, Command] = {"pbsnodes": _pbsnodes}
LSF: dict[str, Command] = {
    "lsid": _lsf(site_text.LSF_ID),
    "bqueues": _lsf(site_text.LSF_QUEUES, "-l"),
    "bhosts": _lsf(site_text.LSF_HOSTS, "-w"),
    "lshosts": _lsf(site_text.LSF_MACHINES, "-w"),
    "bparams": _lsf(site_text.LSF_PARAMS, "-l"),
}
