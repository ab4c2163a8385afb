"""How time and memory grow with the number of chunks in a file, and with the number of files."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plot import pyplot, save
from benchmarks.storage.peers import AGAIN, OURS, PEERS, TUNED
from benchmarks.storage.recipe import VARIANTS, Archive

__all__ = ["Growth", "run", "tiny"]

CHUNKS = (10**3, 10**4, 10**5, 10**6)
SYNTHETIC = 10**7
"""An index of so many chunks is put together, not made of a file: HDF5 is slow to write one."""
FILES = (10, 30, 100, 300, 1000, 3000)
MOST_FILES = {TUNED: 300}
REPEAT = 3


@dataclass(frozen=True)
class Growth:
    """Figures by a number.

    Attributes
    ----------
    title, by : str
        What, and the number's name.
    rows : list of dict
        One for each number, which is its first figure. A figure may be missing.
    """

    title: str
    by: str
    rows: list[dict[str, float]]
    peer: None = None

    def show(self) -> None:
        """Print the table."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        print(f"\n{self.title}\n" + " ".join(f"{name:>18}" for name in names))
        for row in self.rows:
            figures = (f"{row[name]:18.4g}" if name in row else f"{'-':>18}" for name in names)
            print(" ".join(figures), flush=True)


def run(folder: Path, without: dict[str, str], plots: Path | None) -> list[Growth]:
    """Both; nothing where the engine is not there."""
    if OURS in without:
        return []
    folder = folder / "growth"
    folder.mkdir(exist_ok=True)
    tables = [
        Growth("storage: index of one file, by its chunks", "chunks", of_chunks(folder)),
        Growth("storage: seconds to open files, by their number", "files", of_files(folder)),
    ]
    if plots:
        draw(tables, plots / "storage-growth.svg")
    return tables


def of_chunks(folder: Path) -> list[dict[str, float]]:
    """Seconds and MB to make an index and to load it."""
    rows = []
    for count in (*CHUNKS, SYNTHETIC):
        path = folder / f"chunks-{count}.nc"
        row: dict[str, float] = {"chunks": count}
        if count == SYNTHETIC:
            put_together(tiny(path), count)
        else:
            if not path.exists():
                tiny(path, count)
            built = in_process("build", path)
            row |= {"build, s": built["seconds"], "build, MB": built["MB"]}
        loaded = in_process("load", path)
        row |= {"load, s": loaded["seconds"], "load, MB": loaded["MB"]}
        rows.append({**row, "sidecar, MB": loaded["sidecar MB"]})
    return rows


def in_process(what: str, path: Path) -> dict[str, float]:
    """The fastest of some processes that build or load an index."""
    command = [sys.executable, "-m", "benchmarks.storage.index_process", what, str(path)]
    said = [
        json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        for _ in range(REPEAT)
    ]
    return min(said, key=lambda one: one["seconds"])


def tiny(path: Path, chunks: int = 10) -> str:
    """A NetCDF-4 file with so many chunks of four bytes; its name."""
    import h5py

    if not path.exists():
        passing = path.with_suffix(f".{os.getpid()}")
        with h5py.File(passing, "w", libver=("earliest", "v108"), track_order=True) as file:
            numbers = np.arange(chunks * 4, dtype="u1").reshape(chunks, 4)
            data = file.create_dataset("x", data=numbers, chunks=(1, 4), maxshape=(None, 4))
            for axis, (name, size) in enumerate((("time", chunks), ("place", 4))):
                scale = file.create_dataset(name, data=np.arange(size, dtype="i4"))
                scale.make_scale(name)
                data.dims[axis].attach_scale(scale)
        passing.replace(path)
    return str(path)


def put_together(path: str, chunks: int) -> None:
    """Keep an index of so many chunks for a file that has few."""
    from hpclaunch.storage import sidecar
    from hpclaunch.storage.indexformat import encode
    from hpclaunch.storage.scan import scan

    index = scan(path)
    root = index.groups["/"]
    found = root.variables["x"]
    layout = dataclasses.replace(
        found.layout,
        shape=(chunks, 4),
        offsets=np.arange(0, 4 * chunks, 4, np.uint64).reshape(chunks, 1),
        sizes=np.full((chunks, 1), 4, found.layout.sizes.dtype),
    )
    grown = dataclasses.replace(found, layout=layout)
    group = dataclasses.replace(root, variables={**root.variables, "x": grown})
    place = sidecar.sidecar_of(index.identity.path)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place.write_bytes(encode(dataclasses.replace(index, groups={"/": group})))


def of_files(folder: Path) -> list[dict[str, float]]:
    """Seconds to make the indexes and to open, for each engine the best of some."""
    from hpclaunch.storage import index_many

    rows = []
    for count in FILES:
        paths = tuple(daily(folder / "many" / f"{day:04}.nc", day) for day in range(count))
        archive = Archive(VARIANTS["many"], paths)
        with tempfile.TemporaryDirectory(dir=folder) as indexes:
            began = time.perf_counter()
            index_many(paths, directory=Path(indexes))
            row: dict[str, float] = {"files": count, "index, s": time.perf_counter() - began}
        for name in (OURS, AGAIN, "kerchunk", TUNED):
            if count <= MOST_FILES.get(name, count):
                PEERS[name].prepare(archive)
                row[f"{name}, s"] = min(seconds(PEERS[name], archive) for _ in range(REPEAT))
        rows.append(row)
    return rows


def seconds(peer: Any, archive: Archive) -> float:
    """How long it takes to open the files."""
    peer.forget()
    began = time.perf_counter()
    dataset = peer.open(archive, None)
    taken = time.perf_counter() - began
    dataset.close()
    return taken


def daily(path: Path, day: int) -> str:
    """A day of a small grid; the file's name."""
    import netCDF4

    if path.exists():
        return str(path)
    path.parent.mkdir(exist_ok=True)
    passing = path.with_suffix(f".{os.getpid()}")
    with netCDF4.Dataset(passing, "w") as file:
        for name, size in (("time", None), ("lat", 10), ("lon", 20)):
            file.createDimension(name, size)
            variable = file.createVariable(name, "f8", (name,))
            variable[:] = day * 24 + np.arange(24) if size is None else np.arange(size)
        file["time"].units = "hours since 2001-01-01"
        values = file.createVariable("t2m", "f4", ("time", "lat", "lon"), zlib=True)
        values[:] = np.random.default_rng(day).standard_normal((24, 10, 20))
    passing.replace(path)
    return str(path)


def draw(tables: list[Growth], file: Path) -> None:
    """One panel for each table, both axes logarithmic."""
    figure, axes = pyplot().subplots(1, len(tables), figsize=(10, 4.4))
    for axis, table in zip(axes, tables, strict=True):
        names = [name for name in table.rows[0] if name != table.by and name.endswith(", s")]
        for name in names:
            rows = [row for row in table.rows if name in row]
            axis.plot(
                [row[table.by] for row in rows], [row[name] for row in rows], "o-", label=name
            )
        axis.set(xscale="log", yscale="log", xlabel=table.by, ylabel="seconds")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.17), ncols=3)
        axis.set_title(table.title, fontsize=9, loc="left")
    save(figure, file)
