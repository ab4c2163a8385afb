"""Attributes, fill values and copied arrays as xarray reads them in Zarr, format 2 and 3.

In format 2 xarray takes an array's fill value for `_FillValue`; in format 3 it does not, and
`_FillValue` is an attribute that it encodes (xarray's user guide, "Zarr encoding specification").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpclaunch.errors import StorageError

__all__ = ["Copied", "attributes", "fill_attribute", "json_fill", "plain", "told", "write_copied"]


@dataclass(frozen=True, eq=False)
class Copied:
    """A variable whose values are copied.

    Attributes
    ----------
    name : str
    dims : tuple of str
    attrs : dict
    values : numpy.ndarray
        Not decoded by CF; of dtype object for texts.
    """

    name: str
    dims: tuple[str, ...]
    attrs: dict[str, Any]
    values: np.ndarray


def plain(value: Any) -> Any:
    """An attribute as JSON has it: numbers and lists of them, without their dtypes."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value


def fill_attribute(attrs: dict[str, Any], dtype: np.dtype[Any]) -> Any:
    """``_FillValue`` where it is one number of the variable's own type, else None."""
    fill = attrs.get("_FillValue")
    if dtype.kind not in "iuf" or not isinstance(fill, np.generic):
        return None
    return fill if fill.dtype == dtype.newbyteorder("=") else None


def json_fill(fill: Any) -> Any:
    """A fill value of a number as Zarr's format 2 writes it."""
    if fill is None:
        return None
    number = fill.item()
    if isinstance(number, float) and not np.isfinite(number):
        return "NaN" if np.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return number


def told(attrs: dict[str, Any], zarr_format: int) -> dict[str, Any]:
    """The attributes that a format holds.

    icechunk holds no NaN and no infinity in them. A ``missing_value`` of NaN is left out: what is
    NaN is missing anyway.

    Raises
    ------
    StorageError
        If another attribute has one.
    """
    found = {key: plain(value) for key, value in attrs.items()}
    if zarr_format == 2:
        return found
    if "missing_value" in found and np.isnan(_numbers(found["missing_value"])).all():
        del found["missing_value"]
    for key, value in found.items():
        if key != "_FillValue" and not np.isfinite(_numbers(value)).all():
            raise StorageError(
                f"attribute {key} is {value}: icechunk holds no NaN and no infinity in attributes",
                hint="give --format kerchunk-json or kerchunk-parquet",
            )
    return found


def _numbers(value: Any) -> np.ndarray:
    """The numbers of an attribute; zeros for all else."""
    found = np.asarray(value)
    return found if found.dtype.kind in "iufc" and found.size else np.zeros(1)


def attributes(
    attrs: dict[str, Any], dims: tuple[str, ...], dtype: np.dtype[Any], zarr_format: int
) -> dict[str, Any]:
    """A variable's attributes as they are written."""
    found = told(attrs, zarr_format)
    fill = fill_attribute(attrs, dtype)
    if zarr_format == 2:
        if fill is not None:
            del found["_FillValue"]
        return {**found, "_ARRAY_DIMENSIONS": list(dims)}
    if "_FillValue" in found:
        if fill is None:
            raise StorageError(
                f"_FillValue is {found['_FillValue']!r}, which is no number of its variable's own "
                "type: Zarr's format 3 does not tell it",
                hint="give --format kerchunk-json or kerchunk-parquet",
            )
        if "_Unsigned" in found:
            raise StorageError(
                "xarray does not read _FillValue beside _Unsigned in Zarr's format 3",
                hint="give --format kerchunk-json or kerchunk-parquet",
            )
        from xarray.backends.zarr import FillValueCoder

        found["_FillValue"] = FillValueCoder.encode(fill, dtype)
    return found


def write_copied(group: Any, one: Copied, zarr_format: int) -> None:
    """Write a variable's values into a `zarr.Group`."""
    values = one.values
    texts = values.dtype.kind in "OU"
    dtype: Any = str if texts else np.dtype(values.dtype.str)
    if zarr_format == 2:
        fill = None if texts else fill_attribute(one.attrs, values.dtype)
    else:
        fill = "" if texts else np.zeros((), values.dtype)[()]
    array = group.create_array(
        one.name,
        shape=values.shape,
        dtype=dtype,
        chunks=tuple(max(1, n) for n in values.shape) if values.ndim else "auto",
        fill_value=fill,
        attributes=attributes(one.attrs, one.dims, values.dtype, zarr_format),
        dimension_names=one.dims if zarr_format == 3 else None,
        config={"write_empty_chunks": True},
    )
    if values.size:
        array[...] = values
