"""CephFS: read the virtual extended attribute ``ceph.file.layout``. Pure.

The format stands in Ceph's documentation, "File layouts".
"""

from __future__ import annotations

from hpclaunch.storage.stripes import Stripes

__all__ = ["read_layout"]


def read_layout(text: str) -> Stripes | None:
    """Read ``stripe_unit=4194304 stripe_count=1 object_size=4194304 pool=...``."""
    fields = dict(word.partition("=")[::2] for word in text.split())
    try:
        unit, count = int(fields["stripe_unit"]), int(fields["stripe_count"])
    except (KeyError, ValueError):
        return None
    return Stripes(unit, count, pool=fields.get("pool", ""))
