"""Which waiting jobs will never start, and which only wait."""

from __future__ import annotations

import pytest

from hpclaunch.schedulers.base import JobState, JobStatus
from hpclaunch.schedulers.slurm import Slurm, never_starts
from tests.schedulers.replay import RELEASES, queue_answer, queue_rows

pytestmark = [pytest.mark.pure]


def waiting(reason: str, state: JobState = JobState.QUEUED) -> JobStatus:
    return JobStatus("1", state, word="PENDING", reason=reason)


@pytest.mark.parametrize("release", RELEASES)
def test_what_the_recorded_clusters_accepted_and_never_started(release):
    """Told by the request: 99 days, no limit at all, an hour in short, and so on."""
    rows = [r for r in queue_rows(release, "40_errors") if r["%T"] == "PENDING"]
    statuses = Slurm().parse_status(queue_answer(*rows), [row["%i"] for row in rows])
    never = {row["%i"] for row in rows if never_starts(statuses[row["%i"]])}
    hopeless = [
        lambda r: r["%l"] == "99-00:00:00",
        lambda r: r["%l"] == "UNLIMITED" and r["%P"] == "compute",
        lambda r: r["%P"] == "short",
        lambda r: r["%P"] == "bobonly",
        lambda r: r["%r"].startswith("QOSMaxWall"),
        lambda r: int(r["%C"]) > 8,
        lambda r: r["%D"] == "99",
    ]
    assert never >= {row["%i"] for row in rows if any(test(row) for test in hopeless)}
    assert {row["%P"] for row in rows if row["%i"] not in never} == {"closed"}, "it may open again"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("PartitionTimeLimit", "walltime"),
        ("PartitionNodeLimit", "nodes"),
        ("PartitionConfig", "partition"),
        ("BadConstraints", "no node"),
        ("DependencyNeverSatisfied", "depends"),
        ("AccountNotAllowed", "account"),
        ("QOSNotAllowed", "QOS"),
        ("InvalidAccount", "account"),
        ("InvalidQOS", "QOS"),
        ("QOSMaxWallDurationPerJobLimit", "one job"),
        ("QOSMaxCpuPerJobLimit", "one job"),
        ("QOSMaxMemoryPerJob", "one job"),
        ("AssocMaxNodePerJobLimit", "one job"),
        ("AssocMaxCpuMinutesPerJobLimit", "one job"),
        ("QOSMaxGRESPerNode", "one node"),
        ("QOSMinCpuNotSatisfied", "less"),
        ("QOSMinGRES", "less"),
        ("Job's QOS not permitted to use this partition (a allows b not c)", "QOS"),
        ("uid 2001 not in group permitted to use this partition (a). groups allowed: b", "groups"),
    ],
)
def test_a_request_outside_a_limit_never_starts(reason, words):
    told = never_starts(waiting(reason))
    assert told is not None
    assert words in told.partition(" (Slurm says")[0]
    assert reason in told, "Slurm's own word is for the help desk"


@pytest.mark.parametrize(
    "reason",
    [
        *("", "None", "Resources", "Priority", "Dependency", "BeginTime", "Licenses"),
        *("ReqNodeNotAvail, UnavailableNodes:c1", "PartitionDown", "PartitionInactive"),
        *("QOSMaxCpuPerUserLimit", "QOSMaxJobsPerUserLimit", "QOSMaxGRESPerUser"),
        *("AssocGrpCpuLimit", "QOSGrpNodeLimit", "AssocMaxJobsLimit", "MaxCpuPerAccount"),
        *("AssocGrpCPUMinutesLimit", "QOSUsageThreshold", "JobArrayTaskLimit", "Reservation"),
        *("Nodes required for job are DOWN, DRAINED or reserved", "SomethingNewPerJobish"),
    ],
)
def test_a_job_that_only_waits_may_start(reason):
    assert never_starts(waiting(reason)) is None


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED, JobState.LOST])
def test_only_a_waiting_job_can_never_start(state):
    assert never_starts(waiting("PartitionTimeLimit", state)) is None
