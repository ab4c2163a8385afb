"""What SLURM tells of a site, as recorded releases print it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpclaunch.survey.findings import FoundNodes
from hpclaunch.units import Memory, Walltime
from tests.pure.surveys import slurm_answers, surveyed

RELEASES = {
    "slurm-22.05": "slurm-wlm 22.05.8",
    "slurm-24.11": "slurm-wlm 24.11.5",
    "slurm-26.05": "slurm-wlm 26.05.5",
}
NODE = FoundNodes(count=2, cores=4, memory=Memory(8000 * 2**20))


def with_partition(line: str, **answers: str):
    """The queue of a site whose only partition is described by `line`."""
    told = {**slurm_answers("slurm-22.05"), "slurm.partitions": f"PartitionName=p {line}"}
    survey = surveyed({**told, "slurm.nodes": "p~|~9~|~64~|~256000~|~(null)~|~(null)", **answers})
    return survey.queues[0]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_tells_queues_limits_and_nodes(release):
    survey = surveyed(slurm_answers(release))
    queues = {queue.name: queue for queue in survey.queues}
    assert (survey.scheduler, survey.release) == ("slurm", RELEASES[release])
    assert (survey.cluster, survey.max_array) == ("tb", 1000)
    assert [name for name, one in queues.items() if one.default] == ["compute"]
    assert queues["compute"].max_walltime == Walltime(86400)
    assert queues["compute"].nodes == (NODE,)
    assert (queues["short"].max_walltime, queues["short"].max_nodes) == (Walltime(600), 1)
    assert {name for name, one in queues.items() if not one.open} >= {"closed", "drained"}
    assert {name for name, one in queues.items() if one.allowed is False} == {"bobonly"}
    assert queues["compute"].exclusive is False


def test_an_account_is_required_where_there_is_no_default():
    told = slurm_answers("slurm-22.05")
    assert surveyed(told).account_required is False
    assert surveyed(told).default_account == "proj1"
    without = surveyed({**told, "accounts.user": "alice|"})
    assert (without.account_required, without.accounts) == (True, ("proj1",))
    told.pop("accounts.user")
    assert surveyed(told).account_required is None


def test_partitions_of_groups_and_of_root_are_not_for_everybody():
    assert with_partition("AllowGroups=users,staff").allowed is True
    assert with_partition("AllowGroups=staff").allowed is False
    assert with_partition("AllowGroups=ALL RootOnly=YES").allowed is False
    assert with_partition("AllowAccounts=ALL DenyAccounts=proj1").allowed is False
    unknown = {**slurm_answers("slurm-22.05"), "accounts.assoc": ""}
    unknown.pop("accounts.assoc")
    told = {**unknown, "slurm.partitions": "PartitionName=p AllowAccounts=proj7"}
    assert surveyed(told).queues[0].allowed is None


def test_a_qos_that_jobs_must_name_is_found():
    assert with_partition("AllowQos=ALL").qos is None
    assert with_partition("AllowQos=normal,high").qos is None
    assert with_partition("AllowQos=high,tiny").qos == "tiny"
    assert with_partition("AllowQos=high").allowed is False


def test_whole_nodes_are_told_by_old_and_new_releases():
    assert with_partition("OverSubscribe=EXCLUSIVE").exclusive is True
    assert with_partition("OverSubscribe=NO Exclusive=NODE").exclusive is True
    assert with_partition("OverSubscribe=FORCE:4").exclusive is False
    assert with_partition("State=UP").exclusive is None


def test_a_partition_caps_what_a_job_may_have_of_a_node():
    (node,) = with_partition("MaxCPUsPerNode=32 MaxMemPerNode=100000").nodes
    assert (node.cores, node.memory) == (32, Memory(100000 * 2**20))


def test_what_nodes_keep_for_the_system_is_not_for_jobs():
    told = {
        "slurm.reserved": "Nodes=9 CPUEfctv=62 CPUTot=64 CoreSpecCount=1 MemSpecLimit=16000 "
        "RealMemory=256000 Partitions=p,q"
    }
    (node,) = with_partition("State=UP", **told).nodes
    assert (node.cores, node.memory) == (62, Memory(240000 * 2**20))


def test_gpus_features_and_kinds_of_nodes():
    rows = [
        "p~|~10~|~128~|~512000~|~(null)~|~milan,ib",
        "p~|~2~|~64~|~256000~|~gpu:a100:4(S:0-1)~|~a100",
        "p~|~3~|~64~|~256000~|~gpu:a100:4(S:0-1)~|~a100",
        "p~|~1~|~64~|~256000~|~gres/x:1,gpu:2~|~a100",
    ]
    most, gpus, last = with_partition("State=UP", **{"slurm.nodes": "\n".join(rows)}).nodes
    assert (most.count, most.gpus, most.features) == (10, 0, ("ib", "milan"))
    assert (gpus.count, gpus.gpus) == (5, 4)
    assert last.gpus == 2


def test_memory_that_slurm_was_never_told_is_not_known():
    (node,) = with_partition("State=UP", **{"slurm.nodes": "p~|~1~|~4~|~1~|~(null)~|~x"}).nodes
    assert node == replace(node, memory=None)


def test_limits_of_associations_and_of_the_default_qos_count():
    told = slurm_answers("slurm-22.05")
    assert surveyed(told).max_jobs is None
    elsewhere = {**told, "accounts.assoc": "other|proj9|||16||normal|\ntb|proj1|||||normal|"}
    assert (surveyed(elsewhere).max_jobs, surveyed(elsewhere).accounts) == (None, ("proj1",))
    limited = {**told, "accounts.assoc": "tb|proj1|||16||normal|"}
    assert surveyed(limited).max_jobs == 16
    both = {**limited, "accounts.qos": "normal|||4|"}
    assert surveyed(both).max_jobs == 4
    one_of_two = {**told, "accounts.assoc": "tb|proj1|||16||normal|\ntb|proj2|||||normal|"}
    assert surveyed(one_of_two).max_jobs is None


def test_the_qos_of_a_partition_goes_before_that_of_jobs():
    qos = "normal|01:00:00||9|\npart|02:00:00|||\ntiny|00:02:00|||"
    more = {"accounts.qos": qos}
    assert with_partition("MaxTime=04:00:00 QoS=N/A", **more).max_walltime == Walltime(3600)
    assert with_partition("MaxTime=04:00:00 QoS=part", **more).max_walltime == Walltime(7200)
    assert with_partition("MaxTime=00:30:00 QoS=part", **more).max_walltime == Walltime(1800)
    assert with_partition("MaxTime=04:00:00 AllowQos=tiny", **more).max_walltime == Walltime(120)
    assert with_partition("QoS=part", **more).max_jobs == 9
    short = {**more, "accounts.assoc": "tb|proj1||||00:10:00|normal|"}
    assert with_partition("MaxTime=04:00:00", **short).max_walltime == Walltime(600)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1-00:00:00", 86400),
        ("2-12", 216000),
        ("10", 600),
        ("5:00", 300),
        ("01:00:00", 3600),
        ("UNLIMITED", None),
        ("infinite", None),
        ("Partition_Limit", None),
        ("1-x", None),
        ("", None),
    ],
)
def test_times_as_slurm_writes_them(text, seconds):
    assert with_partition(f"MaxTime={text}").max_walltime == (seconds and Walltime(seconds))


def test_a_plugin_that_sees_every_submit_is_told_of():
    told = slurm_answers("slurm-22.05")
    config = told["slurm.config"].replace(
        "JobSubmitPlugins        = (null)", "JobSubmitPlugins        = lua"
    )
    assert any("lua" in note for note in surveyed({**told, "slurm.config": config}).notes)
    assert surveyed(told).notes == ()
