"""What a login node says of itself."""

from __future__ import annotations

import pytest

from hpclaunch.survey.findings import FoundFilesystem, FoundInterface
from tests.pure.surveys import surveyed

HEADS = "Filesystem     Type 1024-blocks     Used Available Capacity Mounted on"


def place(row: str, path: str = "/scratch/alice", last: str = "writable") -> str:
    return f"{HEADS}\n{row}\n{path}\n{last}"


@pytest.mark.parametrize(
    ("row", "kind", "shared"),
    [
        ("10.0.0.1@o2ib:/work lustre 9 1 8 1% /work", "lustre", True),
        ("home:/export nfs4 9 1 8 1% /home", "nfs", True),
        ("gpfs0 gpfs 9 1 8 - /gpfs", "gpfs", True),
        ("beegfs_nodev beegfs 9 1 8 1% /beegfs", "beegfs", True),
        ("ceph-fuse fuse.ceph-fuse 9 1 8 1% /ceph", "ceph", True),
        ("/dev/sda1 ext4 9 1 8 1% /", "local", None),
        ("tmpfs tmpfs 9 1 8 1% /tmp", "local", None),
        ("", "unknown", None),
    ],
)
def test_kinds_of_file_systems(row, kind, shared):
    (found,) = surveyed({"files.SCRATCH": place(row)}).filesystems
    assert found == FoundFilesystem("/scratch/alice", kind, "SCRATCH", shared, True)


def test_a_place_that_cannot_be_written_or_is_not_there():
    survey = surveyed({"files.HOME": place("x nfs 1 1 1 1% /", last="read-only"), "files.WORK": ""})
    assert [(one.variable, one.writable) for one in survey.filesystems] == [("HOME", False)]


def test_interfaces_with_their_kinds_and_without_those_of_containers():
    survey = surveyed(
        {
            "net.addresses": "1: lo    inet 127.0.0.1/8 scope host lo\\ valid_lft forever\n"
            "2: ib0    inet 10.4.0.7/16 brd 10.4.255.255 scope global ib0\n"
            "2: ib0    inet6 fe80::1/64 scope link\n"
            "3: docker0    inet 172.17.0.1/16 scope global docker0\n"
            "4: bond0.7@bond0    inet 10.9.0.2/24 scope global bond0.7",
            "net.kinds": "lo 772 unknown\nib0 32 up\nbond0.7 1 up",
        }
    )
    assert survey.interfaces == (
        FoundInterface("lo", "127.0.0.1", "loopback"),
        FoundInterface("ib0", "10.4.0.7", "infiniband"),
        FoundInterface("bond0.7", "10.9.0.2", "ethernet"),
    )


@pytest.mark.parametrize(
    ("text", "forwarding"),
    [
        ("AllowTcpForwarding no", False),
        ("allowtcpforwarding=local", True),
        ("AllowTcpForwarding remote", False),
        ("AllowTcpForwarding yes\nAllowTcpForwarding no", True),
        ("Match User bob\n  AllowTcpForwarding no", None),
        ("DisableForwarding yes", False),
        ("", None),
    ],
)
def test_forwarding_by_the_first_word_that_holds_for_all(text, forwarding):
    assert surveyed({"ssh.server": text}).forwarding is forwarding
    assert surveyed({}).forwarding is None


def test_module_systems_and_modules_of_pythons():
    names = "/apps/modules/all:\npython/3.11.5(default)\nminiforge3/24.3.0 (L)\nconda/\n"
    survey = surveyed({"modules.kind": "lmod=8.7.30\nmodules=/usr", "modules.list": names})
    assert survey.module_system == "lmod"
    assert survey.modules == ("python/3.11.5", "miniforge3/24.3.0", "conda")
    assert surveyed({"modules.kind": "lmod=\nmodules=/usr"}).module_system == "environment modules"
    assert surveyed({}).module_system is None


def test_one_installation_is_one_environment():
    facts = "python=3.11.2\nprefix=/opt/env\njupyterlab=4.6.6"
    survey = surveyed({"python.1": facts, "python.2": facts, "python.3": "Python 2.7"})
    assert [one.versions for one in survey.environments] == [{"jupyterlab": "4.6.6"}]


def test_logins_between_hosts():
    assert surveyed({"ssh.client": "Host *\n    HostbasedAuthentication yes"}).node_ssh is True
    assert surveyed({"ssh.client": "Host *"}).node_ssh is None
