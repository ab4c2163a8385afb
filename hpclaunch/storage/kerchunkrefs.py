"""References as kerchunk keeps them, in JSON or parquet: VirtualiZarr's, with what Zarr's format 2
needs besides (https://fsspec.github.io/kerchunk/spec.html)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from hpclaunch.storage.chunkrefs import Referenced
from hpclaunch.storage.manifests import Archive, Part, virtual_dataset
from hpclaunch.storage.zarrarrays import (
    Copied,
    attributes,
    fill_attribute,
    json_fill,
    plain,
    write_copied,
)
from hpclaunch.storage.zarrcodecs import encoded

__all__ = ["references", "unexpressed", "write_json", "write_parquet"]

References = dict[str, Any]


def references(archive: Archive, form: str) -> References:
    """All keys of the archive: text for metadata, ``base64:`` for copied chunks, places else.

    Parameters
    ----------
    archive : Archive
    form : {"kerchunk-json", "kerchunk-parquet"}
    """
    found: References = {}
    for part in archive.parts:
        prefix = part.path.strip("/")
        prefix = f"{prefix}/" if prefix else ""
        found[f"{prefix}.zgroup"] = '{"zarr_format":2}'
        found[f"{prefix}.zattrs"] = json.dumps(
            {key: plain(value) for key, value in part.attrs.items()}
        )
        found.update(
            {prefix + key: value for key, value in _virtual(part, archive.urls, form).items()}
        )
        found.update({prefix + key: value for key, value in _copies(part.copied).items()})
    if len(archive.parts) > 1:
        found |= {
            f"{part.path.strip('/')}/.zmetadata".strip("/"): _consolidated(found, part.path)
            for part in archive.parts
        }
    return found


def _consolidated(refs: References, path: str) -> str:
    """All metadata below a group: zarr finds nothing below a group by listing references."""
    below = path.strip("/") + "/" if path != "/" else ""
    metadata = {
        key.removeprefix(below): json.loads(value)
        for key, value in refs.items()
        if key.startswith(below) and _is_meta(key) and not key.endswith(".zmetadata")
    }
    return json.dumps({"zarr_consolidated_format": 1, "metadata": metadata})


def _is_meta(key: str) -> bool:
    return key.rpartition("/")[2] in _METADATA


_METADATA = (".zgroup", ".zarray", ".zattrs", ".zmetadata")


def write_json(path: Path, refs: References) -> None:
    """One document of all references."""
    with path.open("w", encoding="ascii") as file:
        json.dump({"version": 1, "refs": refs}, file, separators=(",", ":"))


def write_parquet(path: Path, refs: References, largest: int) -> None:
    """A directory of parquet files, of which readers load those that they need.

    Every chunk has a place or its bytes: with pandas 3 a path that is null comes back to fsspec
    as NaN, and is looked for. kerchunk's own writer leaves them null.

    Parameters
    ----------
    path : Path
        An empty directory.
    refs : dict
        Of one group: fsspec finds none below it in such a directory.
    largest : int
        Chunks of the array that has most.
    """
    metadata = {key: json.loads(value) for key, value in refs.items() if _is_meta(key)}
    rows = min(_RECORDS, max(1, largest))
    about = {"metadata": metadata, "record_size": rows}
    (path / ".zmetadata").write_text(json.dumps(about), encoding="ascii")
    fields: dict[str, dict[int, Any]] = {}
    for key, value in refs.items():
        if key not in metadata:
            field, _, cell = key.rpartition("/")
            grid = _grid(metadata[f"{field}/.zarray"])
            at = np.ravel_multi_index([int(n) for n in cell.split(".")], grid)
            fields.setdefault(field, {})[int(at)] = value
    for field, chunks in fields.items():
        (path / field).mkdir()
        for record in range(max(chunks) // rows + 1):
            some = [chunks.get(at) for at in range(record * rows, (record + 1) * rows)]
            _write_record(path / field / f"refs.{record}.parq", some)


_RECORDS = 100_000
"""References in one parquet file; it always has so many rows."""


def _grid(zarray: dict[str, Any]) -> tuple[int, ...]:
    return tuple(-(-n // c) for n, c in zip(zarray["shape"], zarray["chunks"], strict=True)) or (1,)


def _write_record(path: Path, chunks: list[Any]) -> None:
    import pandas as pd

    places = [one if isinstance(one, list) else ["", 0, 0] for one in chunks]
    raws = [base64.b64decode(one[7:]) if isinstance(one, str) else None for one in chunks]
    frame = pd.DataFrame(
        {
            "path": pd.Series([one[0] for one in places], dtype=object),
            "offset": np.array([one[1] for one in places], np.int64),
            "size": np.array([one[2] for one in places], np.int64),
            "raw": pd.Series(raws, dtype=object),
        }
    )
    frame.to_parquet(
        path,
        engine="fastparquet",
        compression="zstd",
        index=False,
        stats=False,
        object_encoding={"path": "utf8", "raw": "bytes"},
        has_nulls=["raw"],
    )


def unexpressed(one: Referenced, form: str) -> np.ndarray:
    """Which chunks were never written and hold something that the format does not tell.

    In Zarr's format 2 the fill value is `_FillValue` as well: a variable without one has none. In
    kerchunk's parquet every chunk is there. icechunk tells all of them.
    """
    if form == "icechunk":
        return np.zeros_like(one.never)
    fill = fill_attribute(one.attrs, one.dtype)
    if fill is not None and form == "kerchunk-json":
        same = fill == one.fill or (fill != fill and one.fill != one.fill)
        if same:
            return np.zeros_like(one.never)
    return one.never


def _virtual(part: Part, urls: tuple[str, ...], form: str) -> References:
    """Those of the referenced variables."""
    if not part.referenced:
        return {}
    refs: References = dict(virtual_dataset(part, urls).vz.to_kerchunk(format="dict")["refs"])
    for key in (".zgroup", ".zattrs"):
        refs.pop(key)
    for one in part.referenced:
        about = json.loads(refs[f"{one.name}/.zarray"])
        about["fill_value"] = json_fill(fill_attribute(one.attrs, one.dtype))
        refs[f"{one.name}/.zarray"] = json.dumps(about, separators=(",", ":"))
        refs[f"{one.name}/.zattrs"] = json.dumps(attributes(one.attrs, one.dims, one.dtype, 2))
        refs.update({f"{one.name}/{key}": value for key, value in _chunks(part, one, form).items()})
    return refs


def _chunks(part: Part, one: Referenced, form: str) -> References:
    """The chunks whose values are copied."""
    found: References = {}
    empty = np.argwhere(unexpressed(one, form)).tolist()
    if empty:
        whole = _inlined(encoded(np.full(one.chunks, one.fill, one.dtype).tobytes(), one.codecs))
        found |= {_key(cell): whole for cell in empty}
    for cell, _, file, inside in one.copied():
        values = np.full(one.chunks, one.fill, one.dtype)
        read = part.read(one.name, file, inside)
        values[tuple(slice(0, n) for n in read.shape)] = read
        found[_key(cell)] = _inlined(encoded(values.tobytes(), one.codecs))
    return found


def _key(cell: Any) -> str:
    return ".".join(map(str, cell))


def _inlined(data: bytes) -> str:
    return "base64:" + base64.b64encode(data).decode("ascii")


def _copies(copied: tuple[Copied, ...]) -> References:
    """Those of copied variables, as zarr itself writes them."""
    import zarr
    from zarr.storage import MemoryStore

    kept: dict[str, Any] = {}
    group = zarr.create_group(MemoryStore(kept), zarr_format=2)
    for one in copied:
        write_copied(group, one, 2)
    found: References = {}
    for key, value in kept.items():
        data = value.to_bytes()
        if "/" in key:
            found[key] = data.decode() if _is_meta(key) else _inlined(data)
    return found
