"""What Jupyter and the cluster find in their environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpclaunch.node import environment
from hpclaunch.node.spec import read_session
from tests.node.live import make_session

pytestmark = pytest.mark.pure

LOCKING = "HDF5_USE_FILE_LOCKING"
HOME = "server:/home /home nfs4 rw,vers=4.2,hard 0 0\n"
LUSTRE = "10.0.0.1@tcp:/work /work lustre rw,{}lazystatfs 0 0\n"


def locking(directory: Path, mounts: str | None, **surroundings: str) -> str | None:
    """What the HDF5 library is told about locks on a node with these mounts."""
    session = read_session(str(make_session(directory / "demo")))
    table = directory / "mounts"
    if mounts is not None:
        table.write_text(mounts)
    return environment.for_children(session, surroundings, str(table)).get(LOCKING)


@pytest.mark.parametrize("options", ["", "noflock,"])
def test_locks_are_no_must_where_lustre_has_none(tmp_path: Path, options: str) -> None:
    assert locking(tmp_path, HOME + LUSTRE.format(options)) == "BEST_EFFORT"


@pytest.mark.parametrize("said", ["TRUE", "FALSE", ""])
def test_what_the_user_or_the_site_said_stays(tmp_path: Path, said: str) -> None:
    assert locking(tmp_path, LUSTRE.format(""), **{LOCKING: said}) == said


@pytest.mark.parametrize(
    "mounts",
    [HOME, LUSTRE.format("flock,"), LUSTRE.format("localflock,"), "", "what is this\n", None],
)
def test_elsewhere_nothing_is_said_of_locks(tmp_path: Path, mounts: str | None) -> None:
    assert locking(tmp_path, mounts) is None
