"""Sessions: several at once, told truthfully, opened again, withdrawn, stopped for good."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.e2e.conftest import Place
from tests.support.cluster import PROFILE, Cluster
from tests.support.launch import Laptop, eventually, kernel, processes_with, signal_each

NOBODY = ("--workers", "0")
by_one_transport = pytest.mark.long_with("paramiko")
"""Where both transports are the same to the session: by paramiko with `make test-long`."""
SLOW = 'login.prologue=["PATH=$HOME/slow:$PATH"]'
START_SLOW = ("start", str(PROFILE), "--name", "slow", "--no-browser", "--set", SLOW, *NOBODY)
SBATCH = """\
#!/bin/sh
echo called >>"$HOME/slow/calls"
answer=$(/usr/bin/sbatch "$@")
code=$?
tries=0
until [ -e "$HOME/slow/go" ] || [ $((tries += 1)) -gt 600 ]; do sleep 0.1; done
echo "$answer"
exit $code
"""
UNANSWERED = "waiting for the scheduler's answer to the submit"


def answers(document: dict[str, object]) -> bool:
    """Whether the session's server answers with its token through the tunnel."""
    url = str(document["url"]).replace("/lab?", "/api/status?")
    with urllib.request.urlopen(url, timeout=10) as reply:
        return "kernels" in json.load(reply)


def test_two_sessions_live_side_by_side_and_each_stops_alone(laptop: Laptop, place: Place) -> None:
    one = laptop.start(place.site, "--name", "one", *NOBODY, *place.options)
    two = laptop.start(place.site, "--name", "two", *NOBODY, *place.options)
    assert one["url"] != two["url"] and one["job"]["id"] != two["job"]["id"]
    assert answers(one) and answers(two)
    listed = laptop.sessions()
    assert {name: facts["state"] for name, facts in listed.items()} == {
        "one": "ready",
        "two": "ready",
    }
    assert listed["one"]["job"] == one["job"]["id"]
    assert len(laptop.keepers()) == 1, "both sessions share one connection"
    assert laptop.json("status", "one", "--json") | {"as_of": 0} == listed["one"] | {"as_of": 0}
    assert "Jupyter" in laptop.run("logs", "one").stdout

    assert laptop.run("stop", "one").returncode == 0
    assert laptop.run("stop", "one").returncode == 0, "stop is idempotent"
    assert answers(two)
    assert laptop.sessions()["one"]["state"] == "ended"
    assert laptop.run("stop", "two").returncode == 0
    eventually(lambda: not laptop.keepers(), what="the keeper ends after the last session")
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")


@by_one_transport
def test_start_json_says_what_the_contract_says(laptop: Laptop, place: Place) -> None:
    document = laptop.start(place.site, "--workers", "1", *place.options)
    assert set(document) == {
        "name", "site", "state", "url", "token", "job", "dask", "ends_at", "timings",
    }  # fmt: skip
    assert document["state"] == "ready"
    assert document["url"].startswith("http://127.0.0.1:")
    assert document["url"].endswith(f"/lab?token={document['token']}")
    assert set(document["job"]) == {"id", "scheduler", "node"}
    assert set(document["dask"]) == {
        "mode", "dashboard", "scheduler", "workers", "problem",
    }  # fmt: skip
    assert document["dask"]["problem"] is None
    assert document["dask"]["scheduler"].startswith("tls://")
    assert set(document["timings"]) == {"connect", "submit", "queue", "server", "tunnel"}
    assert all(seconds >= 0 for seconds in document["timings"].values())
    assert document["ends_at"] > time.strftime("%Y-%m-%dT%H:%M", time.gmtime())


@by_one_transport
def test_in_the_foreground_json_comes_when_ready_and_an_interrupt_lets_the_session_live(
    laptop: Laptop, place: Place
) -> None:
    process = laptop.spawn("start", place.site, "--json", "--no-browser", *NOBODY, *place.options)
    assert process.stdout is not None
    document = json.loads(process.stdout.readline())
    assert answers(document)
    assert process.poll() is None, "start holds the terminal until it is interrupted"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert answers(document), "after ready the job lives on"
    assert laptop.sessions()[document["name"]]["state"] == "ready"


# On the cluster by default: the failure second-start of tests.e2e.failures.
@pytest.mark.long_with("openssh", "paramiko")
def test_a_second_start_of_the_same_name_is_refused_and_harms_nothing(
    laptop: Laptop, place: Place
) -> None:
    first = laptop.start(place.site, "--name", "mine", *NOBODY, *place.options)
    again = laptop.run("start", place.site, "--name", "mine", "--no-browser", *place.options)
    assert again.returncode == 1
    assert "error: session 'mine' exists already" in again.stderr
    assert "hpclaunch attach mine" in again.stderr
    assert answers(first)


def test_the_record_survives_the_death_of_every_laptop_process(
    laptop: Laptop, place: Place
) -> None:
    document = laptop.start(place.site, *NOBODY, *place.options)
    signal_each(laptop.keepers(), signal.SIGKILL)
    listed = laptop.sessions()[document["name"]]
    assert listed["state"] == ("ready" if place.is_local else "unreachable")
    assert listed["job"] == document["job"]["id"]
    again = laptop.json("attach", document["name"], "--json", "--detach", "--no-browser")
    assert again["url"] == document["url"], "the same port, so an open page lives on"
    assert answers(again)


@by_one_transport
def test_a_session_without_answer_in_time_is_withdrawn(laptop: Laptop, place: Place) -> None:
    done = laptop.run("start", place.site, "--timeout", "0.6", "--no-browser", *place.options)
    assert done.returncode == 1
    assert "was not ready within" in done.stderr and "hint:" in done.stderr
    if place.cluster is not None:
        assert place.cluster.jobs() == []
        left = [path for path in place.cluster.files() if path.endswith(("/token", ".key"))]
        assert left == [], "a start that failed may leave its log, and no secret"
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(0.0, marks=by_one_transport),
        0.2,
        pytest.param(0.4, marks=by_one_transport),
        0.8,
        pytest.param(1.2, marks=by_one_transport),
    ],
)
def test_an_interrupt_before_ready_leaves_no_job_and_no_record(
    laptop: Laptop, place: Place, after: float
) -> None:
    process = laptop.spawn("start", place.site, "--no-browser", "--name", "gone", *place.options)
    time.sleep(0.4 + after)  # the interpreter and the imports come first
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    if "is ready" in err:  # a fast machine: then the session lives on, as it should
        assert laptop.sessions()["gone"]["state"] == "ready"
        return
    assert process.returncode == 130 or process.returncode == -signal.SIGINT, err
    nothing_is_left_of_gone(laptop, place)


@pytest.mark.parametrize("fact", ["submitting", pytest.param("job_id", marks=by_one_transport)])
def test_an_interrupt_once_a_submit_has_begun_is_a_withdrawal(
    laptop: Laptop, place: Place, fact: str
) -> None:
    """Whatever the moments above hit: these two are never before the submit, nor after ready."""
    process = laptop.spawn("start", place.site, "--no-browser", "--name", "gone", *place.options)
    record = laptop.home / "state" / "sessions" / "gone" / "record.json"
    deadline = time.monotonic() + 60
    while not (record.exists() and json.loads(record.read_text())[fact]):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "is ready" not in err
    assert "interrupted; cancelling" in err
    nothing_is_left_of_gone(laptop, place)


def nothing_is_left_of_gone(laptop: Laptop, place: Place) -> None:
    """Neither job nor record nor directory, and no process that would mind them."""
    assert laptop.sessions() == {}
    assert not (laptop.home / "state" / "sessions" / "gone").exists()
    if place.cluster is not None:
        assert place.cluster.jobs() == []
        assert not [path for path in place.cluster.files() if "/gone-" in path]
    else:
        assert not list((laptop.home / "data").glob("sessions/gone-*"))
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")


@pytest.mark.local
def test_secrets_on_the_laptop_are_for_the_user_only(laptop: Laptop) -> None:
    document = laptop.start("local", "--workers", "1")
    for path in [laptop.home / "state", *(laptop.home / "state").rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_file() and not path.name.endswith(".lock") and path.name != "lock":
            assert mode == 0o600, f"{path}: {oct(mode)}"
    for folder in ("state/sessions", "state/run", "data/sessions"):
        for path in (laptop.home / folder).iterdir():
            if path.is_dir():
                assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    token = document["token"].encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                seen = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            assert token not in seen, (entry / "cmdline").read_bytes()
    log = laptop.run("logs", document["name"]).stdout
    assert document["token"] not in log
    assert "PRIVATE KEY" not in log


@pytest.mark.local
def test_the_browser_gets_a_private_file_and_no_token(laptop: Laptop, tmp_path: Path) -> None:
    seen = tmp_path / "argv"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{seen}.new && mv {seen}.new {seen}\n')
    browser.chmod(0o755)
    done = subprocess.run(
        laptop.argv("start", "local", "--detach", "--json", *NOBODY),
        env=laptop.environment | {"BROWSER": str(browser)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    document = json.loads(done.stdout)
    eventually(seen.exists, what="the browser was called")
    (argument,) = seen.read_text().split()
    assert document["token"] not in argument
    page = Path(argument.removeprefix("file://"))
    assert stat.S_IMODE(page.stat().st_mode) == 0o600
    assert document["url"] in page.read_text()


@pytest.mark.cluster
class TestOnTheCluster:
    """What only a real queue shows."""

    @pytest.fixture(autouse=True)
    def _quiet_cluster(self, cluster: Cluster) -> None:
        cluster.ssh("scancel -u alice")
        eventually(lambda: not cluster.jobs(), what="alice has no jobs")

    @pytest.fixture
    def slow_sbatch(self, cluster: Cluster) -> None:
        """A stand-in that submits and keeps the answer until there is ``~/slow/go``."""
        install = "rm -rf slow; mkdir slow && cat >slow/sbatch && chmod +x slow/sbatch"
        cluster.ssh(install, stdin=SBATCH.encode())

    def test_waiting_is_told_with_its_reason_and_a_second_terminal_may_attach(
        self, laptop: Laptop, cluster: Cluster, tmp_path: Path
    ) -> None:
        blocker = cluster.ssh("sbatch --parsable -N2 --exclusive -t 5 --wrap 'sleep 600'").strip()
        eventually(lambda: "R" in cluster.ssh(f"squeue -h -j {blocker} -o %t").split())
        with (tmp_path / "first").open("w") as first_err, (tmp_path / "second").open("w") as err:
            first = laptop.spawn(
                *("start", str(PROFILE), "--name", "waits", "--json", "--no-browser", *NOBODY),
                stderr=first_err,
            )
            eventually(lambda: laptop.sessions().get("waits", {}).get("reason") == "Resources")
            # Slurm takes its time to estimate.
            listed = eventually(
                lambda: (one := laptop.json("status", "waits", "--json"))["expected_start"] and one,
                timeout=90,
            )
            assert listed["state"] == "queued"
            why = laptop.json("why", "waits", "--json")
            assert "Resources" in why["cause"]
            second = laptop.spawn("attach", "waits", "--json", "--no-browser", stderr=err)
        told = {name: (tmp_path / name).read_text for name in ("first", "second")}
        for name in told:
            eventually(
                lambda name=name: re.search(
                    r"is queued \((Resources|Priority)\), expected to start at \d", told[name]()
                ),
                what=f"the {name} terminal says why it waits and for how long",
            )
        assert first.poll() is None and second.poll() is None
        cluster.ssh(f"scancel {blocker}")
        assert first.stdout is not None and second.stdout is not None
        one, two = json.loads(first.stdout.readline()), json.loads(second.stdout.readline())
        assert one["url"] == two["url"]
        assert answers(one)
        for process in (first, second):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)

    def test_an_interrupt_between_the_submit_and_its_answer_leaves_no_job(
        self, laptop: Laptop, cluster: Cluster, slow_sbatch: None, tmp_path: Path
    ) -> None:
        with (tmp_path / "err").open("w") as err:
            process = laptop.spawn(*START_SLOW, stderr=err)
        eventually(cluster.jobs, what="the job is in the queue")
        process.send_signal(signal.SIGINT)
        told = (tmp_path / "err").read_text
        eventually(lambda: UNANSWERED in told(), what="the interrupt meets a submit under way")
        cluster.ssh("touch slow/go")
        assert process.wait(60) == 130, told()
        assert cluster.jobs() == []
        assert laptop.sessions() == {}
        assert cluster.ssh("cat slow/calls").split() == ["called"], "never submitted twice"

    def test_a_kill_between_the_submit_and_its_answer_is_healed_by_stop(
        self, laptop: Laptop, cluster: Cluster, slow_sbatch: None, tmp_path: Path
    ) -> None:
        process = laptop.spawn(*START_SLOW, stderr=subprocess.DEVNULL)
        eventually(cluster.jobs, what="the job is in the queue")
        signal_each(processes_with(str(laptop.home)), signal.SIGKILL)
        process.wait()
        listed = laptop.sessions()["slow"]
        assert listed["state"] in ("queued", "starting", "unreachable")
        assert listed["job"] is None, "nobody has read the answer"
        with (tmp_path / "err").open("w") as err:
            stop = laptop.spawn("stop", "slow", stderr=err)
        told = (tmp_path / "err").read_text
        eventually(lambda: UNANSWERED in told(), what="stop meets a submit under way")
        cluster.ssh("touch slow/go")
        assert stop.wait(60) == 0, told()
        assert cluster.jobs() == []
        assert cluster.ssh("cat slow/calls").split() == ["called"], "never submitted twice"

    def test_two_transports_and_the_local_site_at_once(
        self, laptop: Laptop, cluster: Cluster
    ) -> None:
        documents = [
            laptop.start(str(PROFILE), *NOBODY, "--set", "login.transport=openssh"),
            laptop.start(str(PROFILE), *NOBODY, "--set", "login.transport=paramiko"),
            laptop.start("local", *NOBODY),
        ]
        assert [one["name"] for one in documents] == ["docker-1", "docker-2", "local-1"]
        assert all(map(answers, documents))
        assert laptop.run("stop", "--all").returncode == 0
        assert {one["state"] for one in laptop.sessions().values()} == {"ended"}
        assert cluster.jobs() == []

    def test_the_kernel_runs_on_the_compute_node_and_dask_is_there_without_a_word(
        self, laptop: Laptop, cluster: Cluster
    ) -> None:
        document = laptop.start(str(PROFILE), "--workers", "1")
        with kernel(document) as running:
            assert running.run("import socket; socket.gethostname()").result in ("'c1'", "'c2'")
            output = running.run(
                "from distributed import Client\nClient().submit(sum, [1, 2, 3]).result()"
            )
            assert output.result == "6", output
            assert running.run("import hpclaunch").error is None
