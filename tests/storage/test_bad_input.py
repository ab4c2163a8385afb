"""Bad files: a clear error that names the file and the variable, and never a wrong value."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpclaunch.errors import ChangedFile, CorruptFile, StorageError
from hpclaunch.storage import sidecar
from tests.storage.opening import ours
from tests.storage.same import differences, value_differences
from tests.storage.victims import (
    REFUSALS,
    attempt,
    bulk,
    checked,
    copy,
    ending,
    flip,
    good,
    pristine,
    read,
    same_times,
    told,
)
from tests.storage.zoo import HOPELESS, Zoo

pytestmark = pytest.mark.pure


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return good(tmp_path_factory.mktemp("sound") / "sound.nc")


@pytest.fixture(scope="module")
def right(sound: Path) -> xr.Dataset:
    return pristine(sound)


@pytest.fixture
def victim(sound: Path, tmp_path: Path) -> Path:
    """A copy of the sound file for one test to spoil."""
    return copy(sound, tmp_path, "victim.nc")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.nc"):
        read(tmp_path / "none.nc")


def test_a_directory(tmp_path: Path) -> None:
    why = attempt(lambda: read(tmp_path))
    assert isinstance(why, OSError | StorageError) and told(why, tmp_path) == []


def test_a_file_that_one_may_not_read(sound: Path) -> None:
    """Tests may run as root, who may read everything: a child becomes somebody else."""
    read(sound)  # the child finds all modules imported
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        file = copy(sound, folder, "secret.nc")
        file.chmod(0)
        child = os.fork()
        if not child:
            code = 3
            try:
                if os.geteuid() == 0:
                    os.setuid(65534)
                read(file)
            except PermissionError as why:
                code = 0 if "secret.nc" in str(why) else 4
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89HDF\r\n\x1a\n",
        b"\x89HDF\r\n\x1a\n" + bytes(8),
        b"\x89HDF\r\n\x1a\n" + bytes(2000),
        b"\x89HDF\r\n\x1a\n\x00\x00\x00\x00\x00\x08\x08\x00" + b"\xff" * 500,
        b"CDF",
        b"<html>404 not found</html>",
        bytes(5000),
        np.random.default_rng(1).bytes(5000),
        b"\x1f\x8b\x08\x00" + bytes(100),
    ],
    ids=[
        *("empty", "signature", "signature_zeros", "signature_more_zeros", "superblock_ones"),
        *("cdf", "html", "zeros", "noise", "gzip"),
    ],
)
def test_what_is_no_such_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.nc"
    path.write_bytes(content)
    why = attempt(lambda: read(path))
    assert isinstance(why, StorageError | OSError), why
    assert told(why, path) == []


@pytest.mark.parametrize("name", HOPELESS)
def test_what_the_netcdf_library_cannot_open(zoo: Zoo, name: str) -> None:
    """In a child: the netCDF library may crash later in a process in which it failed so."""
    path = zoo.path(name)
    child = os.fork()
    if not child:
        why = attempt(lambda: read(path))
        os._exit(0 if isinstance(why, REFUSALS) else 3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code <= 0, "it was read"
    assert code == 0, f"the process died of signal {-code}"


@pytest.mark.parametrize("percent", [1, 3, 5, 10, 20, 35, 50, 65, 80, 90, 95, 99])
def test_a_truncated_file(victim: Path, right: xr.Dataset, percent: int) -> None:
    before = victim.stat()
    os.truncate(victim, before.st_size * percent // 100)
    same_times(victim, before)
    assert ending(victim, right) in ("same", "refused")


@pytest.mark.parametrize("percent", [5, 30, 60, 99])
def test_a_file_truncated_after_its_index_was_made(
    victim: Path, right: xr.Dataset, percent: int
) -> None:
    assert ending(victim, right) == "same"
    before = victim.stat()
    os.truncate(victim, before.st_size * percent // 100)
    same_times(victim, before)
    assert ending(victim, right) in ("same", "refused")
    assert ending(victim, right) in ("same", "refused")


def test_a_file_truncated_after_it_was_opened(victim: Path) -> None:
    opened = ours(victim)
    before = victim.stat()
    os.truncate(victim, bulk(victim)[0] + 5)
    same_times(victim, before)
    with pytest.raises(StorageError) as caught:
        opened["checked"].load()
    assert isinstance(caught.value, CorruptFile | ChangedFile)
    assert told(caught.value, victim) == []


def _other(victim: Path) -> Path:
    """A file of the same size and layout with other values."""
    other = good(victim.with_suffix(".other"))
    with h5py.File(other, "r+") as file:
        file["noise"][...] = 1
        file["checked"][...] = np.roll(file["checked"][...], 1)
    with other.open("ab") as file:
        file.write(bytes(max(0, victim.stat().st_size - other.stat().st_size)))
    return other


def _old_or_refused(opened: xr.Dataset, right: xr.Dataset, name: str, path: Path) -> str:
    """How a read of a changed file ends."""
    got = attempt(lambda: opened[name].load())
    if isinstance(got, Exception):
        return "; ".join(told(got, path)) or "refused"
    return "; ".join(value_differences(got, right[name])) or "old"


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_replaced_after_it_was_opened(
    victim: Path, right: xr.Dataset, keep_times: bool
) -> None:
    opened = ours(victim)
    before, other = victim.stat(), _other(victim)
    if keep_times:
        same_times(other, before)
    other.replace(victim)
    assert _old_or_refused(opened, right, "noise", victim) in ("old", "refused")
    again = pickle.loads(pickle.dumps(opened))
    with pytest.raises(ChangedFile):
        again["checked"].load()


def test_a_file_replaced_between_two_reads(victim: Path, right: xr.Dataset) -> None:
    opened = ours(victim)
    first = opened["noise"].isel(time=0).load()
    assert value_differences(first, right["noise"].isel(time=0)) == []
    _other(victim).replace(victim)
    assert _old_or_refused(opened, right, "noise", victim) in ("old", "refused")
    assert _old_or_refused(opened, right, "checked", victim) in ("old", "refused")


def test_a_replaced_file_opened_again_is_the_new_one(victim: Path, right: xr.Dataset) -> None:
    assert ending(victim, right) == "same"
    before, other = victim.stat(), _other(victim)
    same_times(other, before)
    other.replace(victim)
    assert differences(read(victim), pristine(victim)) == []
    assert ending(victim, right) != "same"


@pytest.mark.parametrize("name", ["checked", "packed", "noise"])
def test_a_file_that_grows_while_it_is_read(victim: Path, right: xr.Dataset, name: str) -> None:
    opened = ours(victim)
    with h5py.File(victim, "r+") as file:
        file[name].resize((48, 50))
        file[name][...] = -5
    assert _old_or_refused(opened, right, name, victim) in ("old", "refused")
    assert differences(read(victim), pristine(victim)) == []


def test_a_file_written_in_place(victim: Path, right: xr.Dataset) -> None:
    opened = ours(victim)
    opened["noise"].isel(time=0).load()
    with h5py.File(victim, "r+") as file:
        file["noise"][...] = 1
    with pytest.raises(ChangedFile) as caught:
        opened["noise"].load()
    assert told(caught.value, victim) == []


def test_a_file_deleted_after_it_was_opened(victim: Path, right: xr.Dataset) -> None:
    opened = ours(victim)
    victim.unlink()
    assert _old_or_refused(opened, right, "checked", victim) in ("old", "refused")
    with pytest.raises(FileNotFoundError):
        read(victim)


@pytest.mark.parametrize("name", ["checked", "packed", "noise"])
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_corrupt_chunk_names_file_and_variable(victim: Path, name: str, warm: bool) -> None:
    if warm:
        read(victim)
        sidecar.forget()
    offset, size = bulk(victim, name)
    for at in (0, size // 2, size - 1):
        flip(victim, offset + at)
        with ours(victim) as opened, pytest.raises(CorruptFile) as caught:
            opened[name].load()
        assert told(caught.value, victim, name) == []
        with ours(victim) as opened:
            assert opened[name].isel(time=slice(8)).values.shape == (8, 50)
        flip(victim, offset + at)


def _sidecars(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


def test_the_index_of_another_file(
    sound: Path, right: xr.Dataset, tmp_path: Path, index_cache: Path
) -> None:
    """An index of a file of the same size and times, put where this one's belongs."""
    victim, other = (copy(sound, tmp_path, name) for name in ("victim.nc", "others.nc"))
    flip(victim, bulk(victim)[0])
    read(other)
    (theirs,) = _sidecars(index_cache)
    attempt(lambda: read(victim))
    (mine,) = [one for one in _sidecars(index_cache) if one != theirs]
    shutil.copy2(mine, theirs)
    sidecar.forget()
    assert ending(other, right) == "same"


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "noise", "folder"])
def test_a_damaged_index(victim: Path, right: xr.Dataset, index_cache: Path, damage: str) -> None:
    read(victim)
    (one,) = _sidecars(index_cache)
    whole = one.read_bytes()
    one.unlink()
    match damage:
        case "folder":
            one.mkdir()
        case "half":
            one.write_bytes(whole[: len(whole) // 2])
        case _:
            noise = np.random.default_rng(2).bytes(len(whole))
            one.write_bytes({"empty": b"", "zeros": bytes(len(whole)), "noise": noise}[damage])
    sidecar.forget()
    assert ending(victim, right) == "same"


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_an_index_with_any_byte_changed(
    sound: Path, right: xr.Dataset, data: st.DataObject, index_cache: Path
) -> None:
    sidecar.forget()
    read(sound)
    (one,) = _sidecars(index_cache)
    whole = bytearray(one.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    one.write_bytes(bytes(whole))
    sidecar.forget()
    assert ending(sound, right) == "same"
    one.unlink(missing_ok=True)


def test_an_index_cache_that_cannot_be_written(
    victim: Path, right: xr.Dataset, index_cache: Path
) -> None:
    index_cache.write_text("a file where the folder should be")
    assert ending(victim, right) == "same"


def test_an_unlimited_dimension_without_records(tmp_path: Path) -> None:
    path = tmp_path / "empty.nc"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (0, 4), "f4", chunks=(100, 4), maxshape=(None, 4), fletcher32=True)
    assert read(path)["x"].shape == (0, 4)
    assert differences(read(path), pristine(path)) == []


def test_every_byte_of_a_checked_file_may_change(tmp_path: Path) -> None:
    """A sample of them; the long fuzz is in test_fuzz.py."""
    path = checked(tmp_path / "checked.h5")
    wanted = pristine(path)
    offset, size = bulk(path, "fixed")
    for at in range(offset, offset + size, 97):
        flip(path, at)
        assert ending(path, wanted) == "refused"
        flip(path, at)
    assert ending(path, wanted) == "same"
