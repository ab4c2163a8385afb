"""What the keeper does for sessions whose worker jobs it submits, and what it does not do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpclaunch.keeper import orders as module
from hpclaunch.remote import remote_command
from hpclaunch.sessions.record import Record
from tests.clusters.fakes import Fake
from tests.support.launch import eventually
from tests.support.login_node import FACTS, Laptop

pytestmark = pytest.mark.local


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    """One whose jobs all wait; the session's own is job 1."""
    monkeypatch.setattr(module, "_CALL", 0)
    monkeypatch.setattr(module, "_BUSY_TICK", 0.01)
    found = Fake.install(tmp_path / "slurm")
    found.hold("Priority")
    yield found
    found.kill()


@pytest.fixture
def laptop(slurm: Fake) -> Laptop:
    return Laptop(slurm.path)


def session(laptop: Laptop, tmp_path: Path, name: str = "one", **facts: Any) -> Record:
    (tmp_path / "sessions" / name / "orders").mkdir(parents=True)
    return laptop.put(tmp_path / "sessions" / name, **facts)


def order(one: Record, *orders: dict[str, Any], look: int = 0, **more: Any) -> None:
    """Leave a list, as the session does."""
    fields = {"nonce": one.nonce, "look": look, "orders": list(orders), **more}
    new = Path(one.session_dir) / "orders" / "new"
    new.write_text(json.dumps(fields))
    new.rename(new.with_name("list.json"))


def submit(number: int, copies: int = 1, minutes: int = 60) -> dict[str, Any]:
    return {"number": number, "submit": {"copies": copies, "minutes": minutes}}


def answers(one: Record) -> dict[str, Any]:
    path = Path(one.session_dir) / "orders" / "answers.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def workers(slurm: Fake, one: Record) -> list[str]:
    """Ids of the session's worker jobs."""
    return [job for job, facts in slurm.jobs.items() if facts["name"] == one.worker_job_name]


def test_a_submission_is_the_plans_and_is_made_once(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    one = session(laptop, tmp_path)
    order(one, submit(3, copies=2, minutes=10))
    laptop.serve()
    laptop.serve()
    assert workers(slurm, one) == ["2_0", "2_1"]
    job = slurm.jobs["2_0"]
    script = str(job["script"])
    assert "#SBATCH --time=00:10:00\n" in script and "#SBATCH --partition=standard\n" in script
    assert script.endswith('exec /bin/bash "$session"/orders/3.sh\n')
    assert laptop.book.read("one").orders == {"done": 3, "jobs": {"2": 2}}
    assert (answers(one)["done"], answers(one)["told"]) == (3, {"3": {}})
    shutil.rmtree(Path(one.session_dir) / "orders" / "3")  # nothing on the site remembers it
    order(one, submit(2), submit(3, copies=2), look=1)
    laptop.serve()
    assert workers(slurm, one) == ["2_0", "2_1"], "an old number is no order"


@pytest.mark.parametrize(
    "hostile",
    [
        {"nonce": "ffffffff"},
        {"script": "#!/bin/sh"},
        {"orders": [{"number": 1, "run": ["touch", "/tmp/x"]}]},
        {"orders": [{**submit(1), "script": "#!/bin/sh"}]},
        {"orders": "submit"},
    ],
)
def test_a_malformed_list_is_told_once_and_does_nothing(
    laptop: Laptop,
    slurm: Fake,
    tmp_path: Path,
    hostile: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = session(laptop, tmp_path)
    before = len(slurm.calls)
    order(one, submit(1), **hostile)
    for _ in range(3):
        laptop.serve()
    assert len(slurm.calls) == before
    assert answers(one) == {}
    assert len([line for line in caplog.records if "was not taken" in line.message]) == 1
    order(one, submit(1))
    laptop.serve()
    assert workers(slurm, one) == ["2"], "it goes on with a good one"


def test_limits_are_refused_in_words(laptop: Laptop, slurm: Fake, tmp_path: Path) -> None:
    one = session(laptop, tmp_path, workers={**FACTS, "max_jobs": 3})
    order(one, submit(1, copies=10**6), submit(2, minutes=61), submit(3, copies=3), submit(4))
    laptop.serve()
    assert sorted(workers(slurm, one)) == ["2_0", "2_1", "2_2"]
    told = answers(one)["told"]
    assert "1000000 worker jobs beside 0, where 3 are allowed" in told["1"]["refused"]
    assert "61 minutes, where 60 were planned" in told["2"]["refused"]
    assert told["3"] == {}
    assert "1 worker jobs beside 3" in told["4"]["refused"]
    order(one, {"number": 5, "cancel": ["2_1"]}, submit(6))
    laptop.serve()
    assert slurm.cancelled == {"2_1"}
    assert answers(one)["told"]["6"] == {}, "there is room again"


def test_jobs_of_others_are_left_alone(laptop: Laptop, slurm: Fake, tmp_path: Path) -> None:
    """The session's own job, another session's, another of the user's; and words that are no id."""
    one, other = session(laptop, tmp_path), session(laptop, tmp_path, "other")
    order(one, submit(1))
    order(other, submit(1))
    laptop.serve()
    (mine,), (foreign,) = workers(slurm, one), workers(slurm, other)
    hostile = [str(one.job_id), str(other.job_id), foreign, "--user=alice", "", "9; reboot", "99"]
    order(one, {"number": 2, "cancel": [word for word in hostile if word]})
    laptop.serve()
    assert slurm.cancelled == set()
    assert answers(one)["done"] == 2
    order(one, {"number": 3, "cancel": [*hostile[:3], mine]})
    laptop.serve()
    assert slurm.cancelled == {mine}


def test_jobs_are_the_sessions_by_their_name(laptop: Laptop, slurm: Fake, tmp_path: Path) -> None:
    """One that was submitted without an answer."""
    one = session(laptop, tmp_path)
    laptop.watch._link.transport.run(
        ["sbatch", f"--job-name={one.worker_job_name}", "--output=/dev/null"], stdin=b"#!/bin/sh\n"
    )
    order(one, {"number": 1, "find": True})
    laptop.serve()
    assert answers(one)["told"]["1"] == {"found": ["2"]}
    order(one, {"number": 2, "cancel": ["2", "1"]})
    laptop.serve()
    assert slurm.cancelled == {"2"}


def test_a_forged_answer_makes_no_job_the_sessions(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    """Whoever is on the node writes beforehand what the scheduler will have said."""
    one = session(laptop, tmp_path)
    forged = Path(one.session_dir) / "orders" / "1"
    forged.mkdir()
    (forged / "stdout").write_text(f"{one.job_id}\n")
    (forged / "stderr").write_text("")
    (forged / "exit").write_text("0\n")
    order(one, submit(1), {"number": 2, "cancel": [str(one.job_id)]})
    laptop.serve()
    assert laptop.book.read("one").orders == {"done": 2, "jobs": {}}
    assert slurm.cancelled == set()


def test_a_keeper_that_dies_submits_nothing_twice(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    """It had submitted, and came to write nothing down."""
    one = session(laptop, tmp_path)
    order(one, submit(1, copies=2))
    laptop.serve()
    laptop.book.update(one.name, one.nonce, orders={})
    laptop.wake()
    laptop.serve()
    assert workers(slurm, one) == ["2_0", "2_1"]
    assert laptop.book.read("one").orders == {"done": 1, "jobs": {"2": 2}}


def test_a_submission_under_way_is_waited_for(laptop: Laptop, slurm: Fake, tmp_path: Path) -> None:
    """Begun by a keeper that is gone; it is neither made again nor given up."""
    one = session(laptop, tmp_path)
    slurm.delay(1.5)
    order(one, submit(1))
    argv = remote_command(
        "order.sh", one.session_dir, "1", "sbatch", f"--job-name={one.worker_job_name}",
        "--output=/dev/null",
    )  # fmt: skip
    earlier = threading.Thread(target=laptop.watch._link.transport.run, args=[argv])
    earlier.start()
    eventually((Path(one.session_dir) / "orders" / "1").exists, what="it has begun")
    laptop.serve()
    assert laptop.book.read("one").orders.get("done", 0) == 0
    earlier.join()
    laptop.serve()
    assert laptop.book.read("one").orders == {"done": 1, "jobs": {"2": 1}}


def test_what_is_submitted_while_the_session_is_stopped_is_cancelled(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    one = session(laptop, tmp_path)
    slurm.delay(1.0)
    order(one, submit(1, copies=2))
    serving = threading.Thread(target=laptop.serve)
    serving.start()
    eventually((Path(one.session_dir) / "orders" / "1").exists, what="the submit has begun")
    laptop.book.update(one.name, one.nonce, stopping=True)
    serving.join()
    assert slurm.cancelled == {"2_0", "2_1"}
    order(one, submit(2))
    laptop.serve()
    assert len(workers(slurm, one)) == 2, "a session that ends orders nothing"


def test_many_orders_are_carried_out_slowly(
    laptop: Laptop, slurm: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(module, "_EVERY", 3600.0)
    one = session(laptop, tmp_path)
    order(one, *(submit(number) for number in range(1, 7)))
    laptop.serve()
    laptop.serve()
    assert len(workers(slurm, one)) == 3
    monkeypatch.setattr(module, "_EVERY", 0.001)
    laptop.serve()
    eventually(lambda: laptop.serve() or len(workers(slurm, one)) == 6, what="the others follow")


def test_states_of_all_sessions_come_with_one_query(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    one, other = session(laptop, tmp_path), session(laptop, tmp_path, "other")
    for each in (one, other):
        order(each, submit(1, copies=3), look=1)
    laptop.serve()
    before = slurm.calls.count("squeue")
    for watched in laptop.watch._register.all():
        watched.next_query = 0.0
    laptop.watch._queue.ask()
    assert slurm.calls.count("squeue") == before + 1
    for each, job in ((one, "3"), (other, "4")):
        told = answers(each)
        assert told["looked"] == 1
        assert told["jobs"] == [
            {
                "state": "queued",
                "word": "PENDING",
                "reason": "Priority",
                "expected_start": "2026-11-30T10:00:00",
                "ids": [f"{job}_0", f"{job}_1", f"{job}_2"],
            }
        ]
    asked = slurm.calls.count("squeue")
    for look in range(2, 30):
        order(one, look=look)
        laptop.serve()
        laptop.watch._queue.ask()
    assert slurm.calls.count("squeue") <= asked + 3, "who asks often is not answered more often"


def test_jobs_that_are_over_make_room(laptop: Laptop, slurm: Fake, tmp_path: Path) -> None:
    one = session(laptop, tmp_path, workers={**FACTS, "max_jobs": 2})
    order(one, submit(1, copies=2))
    laptop.serve()
    subprocess.run([slurm.bin / "scancel", *workers(slurm, one)], check=True)  # by somebody else
    order(one, look=1)
    laptop.serve()
    laptop.watched("one").next_query = 0.0
    laptop.watch._queue.ask()
    assert answers(one)["jobs"][0]["state"] == "cancelled"
    assert laptop.book.read("one").orders == {"done": 1, "jobs": {}}
    order(one, submit(2, copies=2))
    laptop.serve()
    assert answers(one)["told"]["2"] == {}


def test_a_pipe_or_a_link_in_the_way_of_one_session_hinders_no_other(
    laptop: Laptop, slurm: Fake, tmp_path: Path
) -> None:
    one, other = session(laptop, tmp_path), session(laptop, tmp_path, "other")
    third = session(laptop, tmp_path, "third")
    os.mkfifo(Path(one.session_dir) / "orders" / "list.json")
    order(other, submit(1))
    (Path(third.session_dir) / "orders" / "list.json").symlink_to(
        Path(other.session_dir) / "orders" / "list.json"
    )
    laptop.serve()
    assert len(workers(slurm, other)) == 1
    assert not workers(slurm, one) and not workers(slurm, third)
