"""A zoo of small NetCDF-4 and HDF5 files, and the real ones of ``iris-sample-data``.

Every animal is a named function of one of the modules in :mod:`tests.storage.animals`; the same
bytes of data come out in every run.
"""

from __future__ import annotations

from pathlib import Path

import iris_sample_data

from tests.storage.animals import (
    ANIMALS,
    chunks,
    classic,
    conventions,
    groups,
    kinds,
    plain,
    texts,
)

__all__ = ["CLASSIC", "FRAGILE", "HOPELESS", "IRIS", "NAMES", "UNDEFINED", "Zoo"]

_KEEPERS = (chunks, classic, conventions, groups, kinds, plain, texts)

_ROOT = Path(iris_sample_data.path)
IRIS = {
    f"iris_{path.stem.replace('-', '_')}": path
    for path in sorted(_ROOT.rglob("*.nc"))
    if path.read_bytes()[:4] == b"\x89HDF"
}
"""The real files that are HDF5, by name."""

CLASSIC = {
    **{name: None for name in ANIMALS if name.startswith("netcdf3")},
    **{
        f"iris_{path.stem}": path
        for path in sorted(_ROOT.rglob("*.nc"))
        if path.read_bytes()[:3] == b"CDF"
    },
}
"""Files that other engines read."""

HOPELESS = (
    "attribute_matrix",
    *("dangling_links", "named_types_of_h5py", "null_space"),
)
"""Files that the netCDF library cannot open. It may crash afterwards: only for other processes."""

UNDEFINED = ("shorter_in_two_dimensions",)
"""Files of which the netCDF library gives what lies in memory by chance."""

FRAGILE = {
    **{name: f"{name}.nc" for name in ("strings", "strings_unlimited", "ragged")},
    "iris_vlstr_type": "vlstr_type.nc",
}
"""Files that engine netcdf4 opens once at a time only, see `tests.storage.opening.theirs`."""

_SET_ASIDE = {*CLASSIC, *HOPELESS, *UNDEFINED}
NAMES = tuple(name for name in ANIMALS if name not in _SET_ASIDE) + tuple(IRIS)
"""All HDF5 files of the zoo that can be compared."""


class Zoo:
    """The files, each written when it is asked for first.

    Parameters
    ----------
    folder : Path
        Where they are kept, of one process.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """The file of an animal."""
        real = {**CLASSIC, **IRIS}.get(name)
        if real is not None:
            return real
        path = self.folder / f"{name}.nc"
        if not path.exists():
            ANIMALS[name](path)
        return path

    def every(self) -> dict[str, Path]:
        """All files that can be compared."""
        return {name: self.path(name) for name in NAMES}
