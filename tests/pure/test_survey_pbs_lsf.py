"""What PBS and LSF tell of a site, as recorded releases print it."""

from __future__ import annotations

import pytest

from hpclaunch.survey.findings import FoundNodes
from hpclaunch.units import Memory, Walltime
from tests.pure.surveys import lsf_answers, pbs_answers, surveyed

PBS = ("openpbs-23.06.06", "openpbs-master-2026-04")
EIGHT = FoundNodes(count=2, cores=4, memory=Memory(8 * 2**30))


@pytest.mark.parametrize("release", PBS)
def test_both_openpbs_tell_queues_limits_and_nodes(release):
    survey = surveyed(pbs_answers(release))
    queues = {queue.name: queue for queue in survey.queues}
    assert (survey.scheduler, survey.release, survey.dialect) == ("pbs", "PBS 23.06.06", "")
    assert survey.max_array == 10000
    assert [name for name, one in queues.items() if one.default] == ["workq"]
    assert queues["workq"].nodes == (EIGHT,)
    assert queues["workq"].max_walltime is None
    assert queues["short"].max_walltime == Walltime(600)
    assert {name for name, one in queues.items() if not one.open} == {"stopped", "disabled"}
    assert {name for name, one in queues.items() if one.allowed is False} == {"bobonly"}
    # Its ends are `short`, with a limit, and `workq`, with none.
    assert queues["routeq"].max_walltime is None
    assert survey.accounts is None and survey.account_required is None


QUEUES = """\
Queue: main
    queue_type = Route
    enabled = True
    started = True
    route_destinations = small,large
    max_queued = [u:PBS_GENERIC=30],[g:x=4]

Queue: small
    queue_type = Execution
    enabled = True
    started = True
    from_route_only = True
    resources_max.walltime = 12:00:00
    resources_max.nodect = 10

Queue: large
    queue_type = Execution
    enabled = True
    started = True
    acl_group_enable = True
    acl_groups = staff,users@login
    resources_max.walltime = 24:00:00
    resources_min.nodect = 11
    default_chunk.Qlist = big
"""
NODES = """\
n1
     state = free
     resources_available.host = n1
     resources_available.mem = 263855780kb
     resources_available.ncpus = 128
     resources_available.Qlist = big,other
     sharing = force_exclhost

n2[0]
     state = free
     resources_available.host = n2
     resources_available.mem = 100gb
     resources_available.ncpus = 32
     resources_available.model = rome
     resources_available.ngpus = 2
     queue = main

n2[1]
     state = free
     resources_available.host = n2
     resources_available.mem = 100gb
     resources_available.ncpus = 32
     resources_available.ngpus = 2
     queue = main
"""


def test_routes_groups_labels_and_vnodes():
    survey = surveyed({"pbs.queues": QUEUES, "pbs.nodes": NODES})
    main, small, large = survey.queues
    assert (main.max_walltime, main.max_jobs, main.allowed) == (Walltime(86400), 30, True)
    assert main.nodes == (FoundNodes(1, 64, Memory(200 * 2**30), 4, ("model=rome",)),)
    assert (small.allowed, small.max_nodes) == (False, 10)
    assert (large.allowed, large.min_nodes) == (True, 11)
    assert large.nodes == (FoundNodes(1, 128, Memory(251 * 2**30), exclusive=True),)


def test_torque_is_told_by_its_nodes():
    nodes = "n1\n     state = free\n     np = 16\n     properties = ib,fat\n"
    nodes += "     status = opsys=linux,physmem=65775908kb,ncpus=16\n"
    survey = surveyed({"pbs.queues": QUEUES, "pbs.nodes": nodes})
    assert survey.dialect == "torque"
    assert survey.queues[1].nodes == (FoundNodes(1, 16, Memory(62 * 2**30), 0, ("ib", "fat")),)


def test_volclava_tells_queues_limits_and_hosts():
    survey = surveyed(lsf_answers())
    queues = {queue.name: queue for queue in survey.queues}
    assert (survey.scheduler, survey.cluster) == ("lsf", "testlsf")
    assert survey.release == "volclava project 2.2, Nov 22 2026"
    assert (survey.max_array, survey.memory_per) == (1000, "host")
    assert [name for name, one in queues.items() if one.default] == ["normal"]
    assert queues["normal"].nodes == (FoundNodes(2, 4, Memory(24105 * 2**20)),)
    assert queues["normal"].max_walltime is None
    assert queues["short"].max_walltime == Walltime(600)
    assert queues["narrow"].nodes[0].cores == 2
    assert {name for name, one in queues.items() if one.allowed is False} == {"bobonly"}


IBM = """\
QUEUE: batch
  -- Production.

PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS
 30    0  Open:Active       -    -    -    -     0     0     0     0     0    0    0

DEFAULT LIMITS:
 RUNLIMIT
 60.0 min

MAXIMUM LIMITS:
 CPULIMIT                 RUNLIMIT
 20.0 min of hostA        342.0 min of hostA

 TASKLIMIT
 1 4 16

USERS: climate/ ocean/
HOSTS:  big+2 c9

-------------------------------------------------------------------------------

QUEUE: night
PARAMETERS/STATISTICS
PRIO NICE STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN SSUSP USUSP  RSV PJOBS
 30    0  Open:Inact        -    -    -    -     0     0     0     0     0    0    0
USERS: all ~alice
HOSTS: all
"""
HOSTS = """\
HOST_NAME          STATUS          JL/U    MAX  NJOBS    RUN  SSUSP  USUSP    RSV
c1                 ok                 -      -      0      0      0      0      0
c2                 ok                 -     40      0      0      0      0      0
c9                 ok                 -      8      0      0      0      0      0
login              closed_Adm         -      0      0      0      0      0      0
"""
MACHINES = """\
HOST_NAME                       type       model  cpuf ncpus maxmem maxswp server RESOURCES
c1                            X86_64    Intel_EM  60.0    20 376.5G      -    Yes (cs)
c2                            X86_64    Intel_EM  60.0    40   1.5T      -    Yes (cs)
c9                            X86_64    Intel_EM  60.0     8    64G      -    Yes (cs)
login                         X86_64    Intel_EM  60.0     8    64G      -    Yes (fs)
"""


def test_hard_limits_groups_of_hosts_and_of_users():
    answers = {
        "lsf.queues": IBM,
        "lsf.hosts": HOSTS,
        "lsf.machines": MACHINES,
        "lsf.groups": "GROUP_NAME    HOSTS\nbig           c1 c2\n",
        "lsf.conf": "LSF_UNIT_FOR_LIMITS=GB\n",
        "lsf.params": "DEFAULT_QUEUE = batch night\nRESOURCE_RESERVE_PER_TASK = Y\n",
    }
    survey = surveyed(answers)
    batch, night = survey.queues
    assert (survey.memory_unit, survey.memory_per) == ("GB", "task")
    assert (batch.default, night.default) == (True, False)
    assert batch.max_walltime == Walltime(342 * 60)
    assert batch.allowed is None
    assert sorted((kind.cores, kind.count) for kind in batch.nodes) == [(8, 1), (16, 1), (16, 1)]
    assert (night.open, night.allowed) == (False, False)
    assert sum(kind.count for kind in night.nodes) == 3
