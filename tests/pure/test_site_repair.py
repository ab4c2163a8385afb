"""A profile is repaired in its text: comments stay, and nothing else changes."""

from __future__ import annotations

import stat
import tomllib
from datetime import date

import pytest

from hpclaunch import paths
from hpclaunch.checks.line import Fix
from hpclaunch.checks.mend import is_shipped, write_profile
from hpclaunch.checks.repair import difference, mendable, repaired
from hpclaunch.errors import ProfileError
from hpclaunch.sites.catalog import find, load
from tests.pure.sites import user_toml

TODAY = date(2026, 11, 25)
PROFILE = """\
# Our cluster.
name = "big"
checked_on = 2026-01-01   # by hand

[login]
host = "login"            # or an alias

[scheduler]
kind = "slurm"
default_queue = "old" # since 2019

# What everybody uses.
[[queues]]
name = "compute"
checked_on = 2026-01-02
max_walltime = "12:00:00"   # as the docs say
# half of the nodes
max_nodes = 52

# Soon to go.
[[queues]]
name = "old"
walltime_bins = [
    { max_nodes = 4, max_walltime = "1:00:00" },  # small ones
]

# For tests.
[[queues]]
name = "short"
max_nodes = 4

# The Python of all.
[environments.default]
python = "/opt/env/bin/python"

[network]
interface = "ib7"   # fast
# nothing else
"""
REPAIRED = """\
# Our cluster.
name = "big"
checked_on = 2026-11-25   # by hand

[login]
host = "login"            # or an alias

[scheduler]
kind = "slurm"
default_queue = "compute" # since 2019

# What everybody uses.
[[queues]]
name = "compute"
checked_on = 2026-11-25
max_walltime = "08:00:00"   # as the docs say
# half of the nodes
max_nodes = 52

# Soon to go.
# For tests.
[[queues]]
name = "short"
max_nodes = 2

# The Python of all.
[environments.default]
python = "/opt/env/bin/python"

[network]
# nothing else
"""
FIXES = (
    Fix(("queues", "0", "max_walltime"), "08:00:00"),
    Fix(("queues", "1")),
    Fix(("queues", "2", "max_nodes"), 2),
    Fix(("scheduler", "default_queue"), "compute"),
    Fix(("network", "interface")),
)


def test_values_are_replaced_and_comments_stay():
    assert repaired(PROFILE, FIXES, TODAY) == REPAIRED


def test_a_number_of_queues_goes_at_once():
    text = repaired(PROFILE, [Fix(("queues", "2")), Fix(("queues", "0"))], TODAY)
    assert [one["name"] for one in tomllib.loads(text)["queues"]] == ["old"]
    gone = repaired(PROFILE, [Fix(("queues", number)) for number in "012"], TODAY)
    assert "queues" not in tomllib.loads(gone)
    for comment in ("# What everybody uses.", "# Soon to go.", "# The Python of all."):
        assert comment in gone


def test_queues_in_one_line_are_mended_too():
    text = 'name = "x"\nqueues = [{ name = "a" }, { name = "b", max_nodes = 3 }]\n'
    fixed = repaired(text, [Fix(("queues", "1", "max_nodes"), 2), Fix(("queues", "0"))], TODAY)
    assert tomllib.loads(fixed)["queues"] == [{"name": "b", "max_nodes": 2}]


def test_an_entry_with_tables_of_its_own_goes_whole():
    text = """[[queues]]
name = "a"
[[queues.walltime_bins]]
max_nodes = 1
max_walltime = "1:00:00"
# of b
[[queues]]
name = "b"
"""
    assert repaired(text, [Fix(("queues", "0"))], TODAY) == '# of b\n[[queues]]\nname = "b"\n'


def test_only_what_the_profile_itself_says_is_repaired_in_it(tmp_path):
    """Not what stands in user.toml, or behind --set."""
    file = tmp_path / "big.toml"
    file.write_text(PROFILE)
    user_toml({"big": {"account": "mine", "dask": {"queue": "old"}}})
    loaded = load(str(file), ["network.interface=ib9", "session.queue=old"])
    for fix in FIXES[:4]:
        assert mendable(loaded, fix)
    for place in (("network", "interface"), ("account",), ("dask", "queue"), ("session", "queue")):
        assert not mendable(loaded, Fix(place))
    assert mendable(loaded, Fix(("scheduler", "account_required"), True))
    assert not mendable(loaded, Fix(("scheduler", "lsf", "memory_unit"), "GB"))


def test_a_difference_is_shown_as_diff_does():
    lines = difference(PROFILE, REPAIRED, "big.toml")
    assert lines[:2] == ["--- big.toml (as it was)", "+++ big.toml"]
    assert '-interface = "ib7"   # fast' in lines
    assert '+max_walltime = "08:00:00"   # as the docs say' in lines


def test_the_old_profile_is_kept_beside_the_new_one(tmp_path):
    file = tmp_path / "big.toml"
    file.write_text(PROFILE)
    file.chmod(0o640)
    first = write_profile(file, REPAIRED)
    assert (first.path, first.backup) == (file, tmp_path / "big.toml.bak")
    assert file.read_text() == REPAIRED
    assert first.backup is not None
    assert first.backup.read_text() == PROFILE
    assert {stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()} == {0o640}
    again = write_profile(file, PROFILE)
    assert again.backup == tmp_path / "big.toml.bak2"
    assert first.backup.read_text() == PROFILE


def test_a_link_stays_a_link(tmp_path):
    file, link = tmp_path / "shared" / "big.toml", tmp_path / "big.toml"
    file.parent.mkdir()
    file.write_text(PROFILE)
    link.symlink_to(file)
    assert write_profile(link, REPAIRED).path == file
    assert link.is_symlink()
    assert link.read_text() == REPAIRED


def test_a_text_that_is_no_profile_any_more_is_not_written(tmp_path):
    file = tmp_path / "big.toml"
    file.write_text(PROFILE)
    with pytest.raises(ProfileError, match="would be no profile any more"):
        write_profile(file, PROFILE.replace('kind = "slurm"', 'kind = "condor"'))
    assert [one.name for one in tmp_path.iterdir()] == ["big.toml"]


def test_a_shipped_profile_is_never_touched_and_the_users_copy_is_found_first():
    shipped = find("gadi")
    assert is_shipped(shipped)
    before = shipped.read_bytes()
    text = before.decode() + "\n# repaired\n"
    mended = write_profile(shipped, text)
    assert mended.backup is None
    assert mended.path == paths.config_dir() / "sites" / "gadi.toml"
    assert shipped.read_bytes() == before
    assert load("gadi").path == mended.path
    with pytest.raises(ProfileError, match="is there already"):
        write_profile(shipped, text)
