"""Logins of the real world, against the cluster's sshd, by both transports.

Each way in is walked by a person on a terminal: start, list, logs, attach, stop in a row. Questions
may be asked once, at the first command; sshd's log says that each hop saw one login.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.cluster import DOCKER, PROFILE, Cluster
from tests.support.launch import Laptop, eventually, processes_with, signal_each
from tests.support.people import Codes, Logins, secret
from tests.support.terminal import Person

pytestmark = pytest.mark.cluster

Answers = list[tuple[str, str]]
NOBODY_ELSE = ("--workers", "0", "--no-browser")


@pytest.fixture(params=["openssh", "paramiko"])
def kind(request: pytest.FixtureRequest) -> str:
    """The same claims hold for both transports."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _no_jobs_left(laptop: Laptop, cluster: Cluster) -> Iterator[None]:
    """After a failure the laptop cannot stop what it would have to log in for, unlike root."""
    yield
    people = {login.person for login in LOGINS.values()} | {*CHATTY, "pat"}
    each = 'for user in "$@"; do scancel -u "$user"; done'
    cluster.root("login", "sh", "-c", each, "sh", *people)


@dataclass(frozen=True)
class Login:
    """A way to log in.

    Attributes
    ----------
    host : str
        The alias in docker/run/ssh_config.
    person : str
        Who arrives at the login node.
    questions : callable, optional
        What is asked, and the right answers; may be called once for each login.
    bastion : str, optional
        Who logs in to the bastion on the way.
    """

    host: str
    person: str
    questions: Callable[[Cluster], Answers] | None = None
    bastion: str | None = None

    def answers(self, cluster: Cluster) -> Answers:
        return [] if self.questions is None else self.questions(cluster)


def with_code(person: str) -> Callable[[Cluster], Answers]:
    return lambda cluster: [
        (") Password: ", secret(f"{person}.password")),
        (") Verification code: ", Codes(cluster, person).fresh()),
    ]


def dave_then_erin(cluster: Cluster) -> Answers:
    return [("'s password: ", secret("dave.password")), *with_code("erin")(cluster)]


LOGINS = {
    "key": Login("hpclaunch-login-kim", "kim"),
    "locked key": Login(
        "hpclaunch-login-kim-locked", "kim", lambda _: [("assphrase", secret("kim.passphrase"))]
    ),
    "password": Login(
        "hpclaunch-login-dave", "dave", lambda _: [("'s password: ", secret("dave.password"))]
    ),
    "password and code": Login("hpclaunch-login-erin", "erin", with_code("erin")),
    "key, password and code": Login("hpclaunch-login-frank", "frank", with_code("frank")),
    "certificate": Login("hpclaunch-login-carl", "carl"),
    "bastion": Login("hpclaunch-login-behind", "kim", bastion="kim"),
    "bastion, asked at both hops": Login(
        "hpclaunch-login-erin-behind", "erin", dave_then_erin, bastion="dave"
    ),
}


def site_options(host: str, kind: str, *more: str) -> tuple[str, ...]:
    options = (f"login.host={host}", f"login.transport={kind}", *more)
    return tuple(word for option in options for word in ("--set", option))


def start(person: Person, name: str, options: Sequence[str], answers: Answers) -> dict[str, Any]:
    heard = person.types(
        "start", str(PROFILE), "--name", name, "--json", "--detach", *NOBODY_ELSE, *options,
        answers=answers,
    )  # fmt: skip
    document: dict[str, Any] = heard.json()
    return document


def use_in_a_row(person: Person, name: str, document: dict[str, Any]) -> None:
    """List, logs, attach and stop a session that runs; nothing may be asked."""
    listed = {one["name"]: one for one in person.types("list", "--json", "--refresh").json()}[name]
    assert (listed["state"], listed["job"]) == ("ready", document["job"]["id"])
    logs = person.types("logs", name)
    assert logs.exit == 0 and "Jupyter answers" in logs.stdout, logs
    again = person.types("attach", name, "--json", "--detach", "--no-browser").json()
    assert again["url"] == document["url"]
    assert answers(document)
    stopped = person.types("stop", name)
    assert stopped.exit == 0 and f"session {name} is stopped" in stopped.screen, stopped


def answers(document: dict[str, Any]) -> bool:
    """Whether the session's server answers with its token through the tunnel."""
    url = str(document["url"]).replace("/lab?", "/api/status?")
    with urllib.request.urlopen(url, timeout=10) as reply:
        return "kernels" in json.load(reply)


# By the other ways each of them asks the same questions of the same programs: a key alone as the
# certificate and the agent's key do, a password and a code behind a bastion.
OFTEN = {
    "key": ["paramiko"],
    "password": ["paramiko"],
    "password and code": ["openssh", "paramiko"],
    "bastion": ["paramiko"],
}
"""Ways that others have as a part, and the transports by which only `make test-long` walks them."""


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=pytest.mark.long_with(*OFTEN.get(way, ()))) for way in LOGINS],
)
def test_one_login_serves_a_whole_session(
    laptop: Laptop, cluster: Cluster, kind: str, way: str
) -> None:
    login, person = LOGINS[way], Person(laptop)
    seen = Logins(login.person, "login")
    hop = Logins(login.bastion, "bastion") if login.bastion else None
    document = start(person, "row", site_options(login.host, kind), login.answers(cluster))
    use_in_a_row(person, "row", document)
    assert (seen.accepted(), seen.failed()) == (1, 0)
    assert hop is None or (hop.accepted(), hop.failed()) == (1, 0)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """An agent that alone holds a key of kim's; its socket."""
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL
    )
    try:
        eventually((tmp_path / "agent").exists, what="the agent listens")
        subprocess.run(
            ["ssh-add", "-q", str(DOCKER / "run" / "kim_ed25519")],
            env={**os.environ, "SSH_AUTH_SOCK": str(tmp_path / "agent")},
            check=True,
        )
        yield str(tmp_path / "agent")
    finally:
        process.terminate()
        process.wait()


def alias_for_kim(folder: Path, host: str, *lines: str) -> Path:
    """An SSH configuration with one more name for what kim reaches as `host`."""
    config = folder / "ssh_config"
    known = DOCKER / "run" / "known_hosts"
    config.write_text(
        "\n".join(
            [
                f"Host {host}",
                "  User kim",
                *(f"  {line}" for line in lines),
                f"  UserKnownHostsFile {known}",
                "  GlobalKnownHostsFile none",
                "  StrictHostKeyChecking yes",
                "",
            ]
        )
    )
    return config


def login_port(host: str = "hpclaunch-login") -> str:
    """The port that docker/run/ssh_config has for a host."""
    config = DOCKER / "run" / "ssh_config"
    said = subprocess.check_output(["ssh", "-G", "-F", str(config), host], text=True)
    (port,) = [line.split()[1] for line in said.splitlines() if line.startswith("port ")]
    return port


def test_an_agent_opens_the_door_and_stays_at_home(
    laptop: Laptop, cluster: Cluster, kind: str, agent: str, tmp_path: Path
) -> None:
    config = alias_for_kim(
        tmp_path, "by-agent", "HostName 127.0.0.1", f"Port {login_port()}",
        "IdentityFile none", "ForwardAgent yes",
    )  # fmt: skip
    control = subprocess.run(
        ["ssh", "-F", str(config), "by-agent", "echo ${SSH_AUTH_SOCK:-none}"],
        env={**os.environ, "SSH_AUTH_SOCK": agent}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert control.stdout != "none\n", "plain ssh would forward it, so the absence means something"
    cluster.root("login", "rm", "-f", "/home/kim/seen")
    options = site_options(
        "by-agent", kind, f"login.ssh_config={config}",
        'login.prologue=["echo ${SSH_AUTH_SOCK:-none} >>$HOME/seen"]',
    )  # fmt: skip
    person = Person(laptop, {"SSH_AUTH_SOCK": agent})
    seen = Logins("kim", "login")
    document = start(person, "agent", options, [])
    use_in_a_row(Person(laptop), "agent", document)
    assert seen.accepted() == 1
    assert set(cluster.root("login", "cat", "/home/kim/seen").split()) == {"none"}


def test_a_code_is_good_for_one_connection_and_a_new_one_needs_another(
    laptop: Laptop, cluster: Cluster, kind: str
) -> None:
    person, login = Person(laptop), LOGINS["password and code"]
    first = login.answers(cluster)
    document = start(person, "again", site_options(login.host, kind), first)
    drop_connection(laptop)
    assert laptop.sessions()["again"]["state"] == "unreachable", "list asks nothing"

    alone = laptop.run("attach", "again", "--detach", "--no-browser")
    assert_needs_a_person(alone)

    seen = Logins("erin", "login")
    second = login.answers(cluster)
    assert first[1] != second[1]
    heard = person.types(
        "attach", "again", "--json", "--detach", "--no-browser", answers=[*first, *second]
    )
    assert heard.json()["url"] == document["url"] and answers(document)
    assert (seen.accepted(), seen.failed() > 0) == (1, True)
    assert person.types("stop", "again").exit == 0


def drop_connection(laptop: Laptop) -> None:
    """End all of the laptop's processes, ssh's among them, as a reboot does."""
    signal_each(processes_with(str(laptop.home)), signal.SIGKILL)
    eventually(lambda: not processes_with(str(laptop.home)), what="all processes are gone")


def assert_no_session(laptop: Laptop) -> None:
    """Only the failure is on record, for `why`; there is no job."""
    for one in laptop.sessions().values():
        assert (one["state"], one["job"]) == ("failed", None)


def assert_needs_a_person(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 1
    assert "wants a password, a code or a passphrase, and nobody is here to ask" in done.stderr
    assert "hint: log in from a terminal first" in done.stderr


@pytest.mark.parametrize(
    "way", ["locked key", "password", "password and code", "bastion, asked at both hops"]
)
def test_without_a_terminal_a_question_is_a_clear_error(
    laptop: Laptop, cluster: Cluster, kind: str, way: str
) -> None:
    login = LOGINS[way]
    done = laptop.run(
        "start", str(PROFILE), "--name", "alone", *NOBODY_ELSE, *site_options(login.host, kind)
    )
    assert_needs_a_person(done)
    assert_no_session(laptop)
    eventually(lambda: not processes_with(str(laptop.home)), what="no process is left")


def test_wrong_passwords_are_asked_for_again_and_then_refused(
    laptop: Laptop, cluster: Cluster, kind: str
) -> None:
    # ssh asks by itself and only tells us that it was refused: before its next question or after.
    again = ("'s password: ", "Once more: ") if kind == "openssh" else "'s password: "
    heard = Person(laptop).types(
        "start", str(PROFILE), *NOBODY_ELSE, *site_options("hpclaunch-login-dave", kind),
        answers=[("'s password: ", "wrong 0"), (again, "wrong 1"), (again, "wrong 2")],
    )  # fmt: skip
    assert heard.exit == 1
    assert "did not let us in" in heard.screen and "hint:" in heard.screen
    assert "wrong 1" not in heard.screen, "a password is not shown"
    assert_no_session(laptop)


def test_questions_stand_still_on_the_terminal(laptop: Laptop, cluster: Cluster, kind: str) -> None:
    """Nothing is drawn between a question and its answer; a code is shown, a password is not."""
    code = Codes(cluster, "erin").fresh()
    heard = Person(laptop).types(
        "start", str(PROFILE), "--name", "seen", "--timeout", "0.1", *NOBODY_ELSE,
        *site_options("hpclaunch-login-erin", kind),
        answers=[(") Password: ", secret("erin.password")), ("code: ", code)],
    )  # fmt: skip
    assert "NOTICE TO USERS" in heard.screen
    assert "Password: \r\n" in heard.screen
    assert f"Verification code: {code}\r\n" in heard.screen
    assert secret("erin.password") not in heard.screen


CHATTY = {"bob": "/bin/bash", "zoe": "/bin/zsh", "tess": "/bin/tcsh"}


@pytest.mark.parametrize(
    "person",
    [
        pytest.param("bob", marks=pytest.mark.long_with("paramiko")),
        pytest.param("zoe", marks=pytest.mark.long_with("paramiko")),
        "tess",
    ],
)
def test_chatty_rc_files_are_not_mistaken_for_the_site(
    laptop: Laptop, cluster: Cluster, kind: str, person: str
) -> None:
    assert cluster.root("login", "getent", "passwd", person).strip().endswith(CHATTY[person])
    assert "Submitted batch job 4" in cluster.ssh("true", user=person), "the rc file does chat"
    document = start(Person(laptop), person, site_options(f"hpclaunch-login-{person}", kind), [])
    owner = cluster.root("login", "squeue", "-h", "-j", document["job"]["id"], "-o", "%u")
    assert owner.strip() == person
    use_in_a_row(Person(laptop), person, document)


def test_a_scheduler_that_is_not_in_path_needs_a_prologue(laptop: Laptop, cluster: Cluster) -> None:
    host = site_options("hpclaunch-login-pat", "auto")
    bare = laptop.run("start", str(PROFILE), "--name", "bare", *NOBODY_ELSE, *host)
    assert bare.returncode == 1
    assert "sbatch" in bare.stderr and "login.prologue" in bare.stderr, bare.stderr
    assert_no_session(laptop)
    with_prologue = (*host, "--set", 'login.prologue=["PATH=$PATH:/usr/bin"]')
    document = start(Person(laptop), "path", with_prologue, [])
    use_in_a_row(Person(laptop), "path", document)


ALTERNATOR = """\
import os, pathlib, socket, sys, threading
count = pathlib.Path(sys.argv[1])
turn = int(count.read_text())
count.write_text(str(turn + 1))
road = socket.create_connection(("127.0.0.1", int(sys.argv[2 + turn % 2])))
def up():
    while data := os.read(0, 65536):
        road.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := road.recv(65536):
    os.write(1, data)
"""


def test_a_login_name_that_leads_to_two_hosts_in_turn(
    laptop: Laptop, cluster: Cluster, kind: str, tmp_path: Path
) -> None:
    count, script = tmp_path / "count", tmp_path / "alternator.py"
    count.write_text("0")
    script.write_text(ALTERNATOR)
    second = login_port("hpclaunch-login2")
    config = alias_for_kim(
        tmp_path, "login-any", "HostKeyAlias hpclaunch-login-any",
        f"IdentityFile {DOCKER / 'run' / 'kim_ed25519'}", "IdentitiesOnly yes",
        f"ProxyCommand {sys.executable} {script} {count} {login_port()} {second}",
    )  # fmt: skip
    cluster.root("login", "rm", "-f", "/home/kim/hosts")
    options = site_options(
        "login-any", kind, f"login.ssh_config={config}",
        'login.prologue=["hostname >>$HOME/hosts"]',
    )  # fmt: skip
    person = Person(laptop)
    document = start(person, "any", options, [])
    person.types("list", "--json", "--refresh").json()
    assert hosts_seen(cluster) == ["login"] and count.read_text() == "1"

    drop_connection(laptop)
    again = person.types("attach", "any", "--json", "--detach", "--no-browser").json()
    assert again["url"] == document["url"] and answers(document)
    use_in_a_row(person, "any", document)
    assert hosts_seen(cluster) == ["login", "login2"] and count.read_text() == "2"


def hosts_seen(cluster: Cluster) -> list[str]:
    """Where commands ran, in order, each change once."""
    ran = cluster.root("login", "cat", "/home/kim/hosts").split()
    return [host for at, host in enumerate(ran) if at == 0 or ran[at - 1] != host]
