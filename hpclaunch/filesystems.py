"""Kinds of file systems: how mount tables call them, their magic numbers, and who else sees them.

Sources: the names are those of the clients' own mount helpers; the magic numbers stand in Linux's
``magic.h`` and statfs(2), in ``lustre_user.h``, in GPFS's ``gpfs.h`` and in BeeGFS's client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["KINDS", "Kind", "kind_of_magic", "kind_of_mount"]


@dataclass(frozen=True)
class Kind:
    """A kind of file system.

    Attributes
    ----------
    name : str
        As hpclaunch calls it.
    title : str
        As people call it.
    shared : bool or None
        Whether other nodes see the same files; None where that depends.
    """

    name: str
    title: str
    shared: bool | None


KINDS: Mapping[str, Kind] = {
    one.name: one
    for one in (
        Kind("lustre", "Lustre", True),
        Kind("gpfs", "GPFS (Spectrum Scale)", True),
        Kind("beegfs", "BeeGFS", True),
        Kind("wekafs", "WekaFS", True),
        Kind("daos", "DAOS (dfuse)", True),
        Kind("vast", "VAST (NFS)", True),
        Kind("nfs", "NFS", True),
        Kind("panfs", "PanFS", True),
        Kind("ceph", "CephFS", True),
        Kind("orangefs", "OrangeFS", True),
        Kind("glusterfs", "GlusterFS", True),
        Kind("dvs", "Cray DVS", True),
        Kind("afs", "AFS", True),
        Kind("cvmfs", "CernVM-FS", True),
        Kind("smb", "SMB", True),
        Kind("object store", "object store", True),
        Kind("web server", "web server", True),
        Kind("fuse", "FUSE", None),
        Kind("overlay", "overlay", None),
        Kind("ext4", "ext4", False),
        Kind("xfs", "XFS", False),
        Kind("btrfs", "Btrfs", False),
        Kind("zfs", "ZFS", False),
        Kind("tmpfs", "tmpfs (memory)", False),
        Kind("local", "local", False),
        Kind("unknown", "unknown", None),
    )
}
"""Every kind by its name."""

_SHARED_WORDS = {
    **{name: name for name in ("lustre", "gpfs", "beegfs", "panfs", "orangefs", "glusterfs")},
    **{name: name for name in ("wekafs", "cvmfs", "ceph", "daos")},
    "dfuse": "daos",
    "pvfs2": "orangefs",
    "smb": "smb",
    "cifs": "smb",
    "nfs": "nfs",
    "afs": "afs",
}
"""Words in the type of a mount, most telling first: ``fuse.ceph-fuse``, ``nfs4``, ``smb3``."""

_WHOLE_WORDS = {
    **{name: name for name in ("dvs", "tmpfs", "overlay", "fuse", "ext4", "xfs", "btrfs", "zfs")},
    **dict.fromkeys(("ext2", "ext3"), "ext4"),
    **dict.fromkeys(("fuse-overlayfs", "fuse.fuse-overlayfs"), "overlay"),
    **dict.fromkeys(("squashfs", "f2fs", "erofs", "iso9660", "vfat", "exfat"), "local"),
    **dict.fromkeys(("jfs", "reiserfs", "bcachefs", "fuseblk", "rootfs"), "local"),
    **dict.fromkeys(("fuse.s3fs", "fuse.goofys", "fuse.gcsfuse", "fuse.rclone"), "object store"),
    **dict.fromkeys(("fuse.mountpoint-s3", "mountpoint-s3", "fuse.mount-s3"), "object store"),
    **dict.fromkeys(("fuse.blobfuse", "fuse.blobfuse2"), "object store"),
    "ramfs": "tmpfs",
}

_MAGIC = {
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0xAAD7AAEA: "panfs",
    0x6969: "nfs",
    0x00C36400: "ceph",
    0x20030528: "orangefs",
    0x65735546: "fuse",
    0x794C7630: "overlay",
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x2FC12FC1: "zfs",
    0x01021994: "tmpfs",
    0x858458F6: "tmpfs",
    0xFF534D42: "smb",
    0xFE534D42: "smb",
    0x5346414F: "afs",
    0x73717368: "local",
}


def kind_of_mount(type: str, source: str = "", options: str = "") -> Kind:
    """Tell the kind by what a mount table says.

    Parameters
    ----------
    type : str
        The type, such as ``lustre``, ``nfs4`` or ``fuse.dfuse``.
    source, options : str
        What is mounted, and how. VAST's client gives an NFS server several addresses, by
        ``remoteports`` or ``mdconnect``.

    Returns
    -------
    Kind
        ``unknown`` where the type is none of those that are known.

    Examples
    --------
    >>> kind_of_mount("fuse.ceph-fuse").name
    'ceph'
    """
    word = type.lower()
    name = _WHOLE_WORDS.get(word, "")
    if not name:
        name = next((kind for part, kind in _SHARED_WORDS.items() if part in word), "")
    if not name:
        name = "fuse" if word.startswith("fuse.") else "unknown"
    if name == "fuse" and "dfuse" in source.lower():
        name = "daos"
    if name == "nfs" and any(f"{key}=" in options for key in ("remoteports", "mdconnect")):
        name = "vast"
    return KINDS[name]


def kind_of_magic(magic: int) -> Kind:
    """Tell the kind by ``f_type`` of statfs(2)."""
    return KINDS[_MAGIC.get(magic & 0xFFFFFFFF, "unknown")]
