"""Groups of referenced and copied variables; VirtualiZarr's objects made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpclaunch.storage.chunkrefs import Referenced, Region
from hpclaunch.storage.zarrarrays import Copied

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Archive", "Part", "virtual_dataset"]


@dataclass(frozen=True, eq=False)
class Part:
    """One group of an archive.

    Attributes
    ----------
    path : str
        ``/`` or ``/a/b``.
    attrs : dict
    referenced : tuple of Referenced
    copied : tuple of Copied
    read : callable
        Gives the stored values of a variable's region in one file: name, place of the file, region.
    """

    path: str
    attrs: dict[str, Any]
    referenced: tuple[Referenced, ...]
    copied: tuple[Copied, ...]
    read: Callable[[str, int, Region], np.ndarray]


@dataclass(frozen=True, eq=False)
class Archive:
    """What is written: groups, and the addresses of the files that they refer to.

    Attributes
    ----------
    parts : tuple of Part
        Parents first.
    urls : tuple of str
        By the place of a file in the row: ``file:///``, ``s3://`` and such.
    directory : str
        The common beginning of `urls`, up to a slash.
    newest : float
        When the last of the files was written, in seconds since 1970; 0 where that is not known.
    store : dict
        Where S3 is, other than Amazon's: ``endpoint_url`` and ``region``. No secrets.
    """

    parts: tuple[Part, ...]
    urls: tuple[str, ...]
    directory: str
    newest: float
    store: dict[str, Any]


def virtual_dataset(part: Part, urls: Sequence[str]) -> xr.Dataset:
    """The referenced variables of a group as VirtualiZarr's dataset, without attributes."""
    from virtualizarr.manifests import ManifestGroup

    table = np.array([*urls, ""], np.dtypes.StringDType())
    arrays = {one.name: _array(one, table) for one in part.referenced}
    found: xr.Dataset = ManifestGroup(arrays=arrays).to_virtual_dataset()
    return found


def _array(one: Referenced, table: np.ndarray) -> Any:
    from virtualizarr.codecs import zarr_codec_config_to_v3
    from virtualizarr.manifests import ChunkManifest, ManifestArray
    from virtualizarr.manifests.utils import create_v3_array_metadata

    metadata = create_v3_array_metadata(
        shape=one.shape,
        data_type=one.dtype,
        chunk_shape=one.chunks,
        fill_value=one.fill,
        codecs=[zarr_codec_config_to_v3(dict(codec)) for codec in one.codecs],
        dimension_names=one.dims,
    )
    manifest = ChunkManifest.from_arrays(
        paths=table[one.files],  # -1 is the empty one, a chunk that is not there
        offsets=one.offsets,
        lengths=one.sizes,
        validate_paths=False,
    )
    return ManifestArray(metadata=metadata, chunkmanifest=manifest)
