"""What can be typed about data files. Standard library only, as `parser`."""

from __future__ import annotations

from typing import Any

from hpclaunch.cli.options import add

__all__ = ["add_data"]


def add_data(commands: Any) -> None:
    """``data`` and its verbs."""
    data = commands.add_parser(
        "data",
        help="NetCDF-4 and HDF5 files: inspect, advise, index, rechunk, virtualize, bench.",
        allow_abbrev=False,
    )
    verbs = data.add_subparsers(metavar="VERB", required=True)
    inspect = add(
        verbs,
        "inspect",
        ("data", "inspect"),
        "Say how files are laid out, where they lie, and what makes reading them slow.",
    )
    inspect.add_argument("files", nargs="+", metavar="FILE")
    inspect.add_argument(
        "--chunks", metavar="VAR", help="list every chunk of this variable instead"
    )
    _add_storage_options(inspect)
    inspect.add_argument("--json", action="store_true", help="print a JSON array, one per file")
    _add_advise(verbs)
    index = add(
        verbs,
        "index",
        ("data", "index"),
        "Make the chunk indices of files beforehand, so that they are opened without waiting.",
    )
    index.add_argument("files", nargs="+", metavar="FILE")
    index.add_argument(
        "--processes", metavar="N", type=int, help="so many at a time (default: as many as cores)"
    )
    _add_storage_options(index)
    index.add_argument("--json", action="store_true", help="print a JSON document")
    _add_rechunk(verbs)
    _add_virtualize(verbs)
    _add_bench(verbs)


def _add_storage_options(verb: Any) -> None:
    verb.add_argument(
        "--storage-options",
        metavar="FILE",
        help="what fsspec is told of the store of URLs, as a JSON object in a file that only you "
        "can read; - reads standard input",
    )


def _add_advise(verbs: Any) -> None:
    advise = add(
        verbs,
        "advise",
        ("data_advise", "advise"),
        "Say how files are best read, and measure on a part of them what that brings.",
    )
    advise.add_argument("files", nargs="+", metavar="FILE")
    advise.add_argument(
        "--access",
        choices=("map", "series", "all"),
        default="all",
        help="what they are read for: whole planes, one point over all times, or all (default)",
    )
    advise.add_argument(
        "--workers", metavar="N", type=int, help="processes that read (default: this one)"
    )
    advise.add_argument(
        "--threads", metavar="N", type=int, help="of each process (default: as many as cores)"
    )
    advise.add_argument("--memory", metavar="M", help="of each process, for example '4 GB'")
    advise.add_argument(
        "--no-measure", action="store_true", help="by the rules alone; no data is read"
    )
    advise.add_argument("--json", action="store_true", help="print a JSON document")


def _add_rechunk(verbs: Any) -> None:
    rechunk = add(
        verbs,
        "rechunk",
        ("data_rechunk", "rechunk"),
        "Write a file anew with other chunks, in bounded memory.",
    )
    rechunk.add_argument("source", metavar="SRC")
    rechunk.add_argument("target", metavar="DST")
    rechunk.add_argument(
        "--access",
        choices=("map", "series", "all"),
        help="what will be read most: whole planes, one point over all times, or both (default)",
    )
    rechunk.add_argument(
        "--chunks", metavar="DIM=N,...", help="elements of a chunk per dimension; -1 is all"
    )
    rechunk.add_argument(
        "--level", metavar="N", type=int, help="of deflate, 0 to 9 (default: the source's, or 4)"
    )
    rechunk.add_argument("--memory", metavar="M", help="for example '4 GB' (default: 2 GiB)")
    rechunk.add_argument(
        "--workers", metavar="N", type=int, help="threads (default: as many as cores)"
    )
    rechunk.add_argument(
        "--stripes",
        metavar="COUNT,SIZE",
        default="auto",
        help="on Lustre, for example 8,4M; 'none' for those of the directory (default: by the "
        "expected size, where the directory has no layout that suits it)",
    )
    rechunk.add_argument("--overwrite", action="store_true", help="replace DST if it exists")
    rechunk.add_argument("--json", action="store_true", help="print a JSON document")


def _add_virtualize(verbs: Any) -> None:
    virtualize = add(
        verbs,
        "virtualize",
        ("data_virtualize", "virtualize"),
        "Write references to the chunks of files, by which others read them as Zarr.",
    )
    virtualize.add_argument("files", nargs="+", metavar="FILE")
    virtualize.add_argument(
        "--output", metavar="OUT", required=True, help="for example archive.json or archive.parq"
    )
    virtualize.add_argument(
        "--format",
        choices=("kerchunk-json", "kerchunk-parquet", "icechunk"),
        help="default: by the suffix of OUT, .json, .parq or .parquet, .icechunk",
    )
    virtualize.add_argument(
        "--url-prefix",
        metavar="URL",
        help="where the files lie for readers, such as s3://bucket/dir/; replaces their directory",
    )
    virtualize.add_argument(
        "--concat-dim",
        metavar="DIM",
        help="along which files follow each other (default: whose coordinate differs)",
    )
    virtualize.add_argument(
        "--processes", metavar="N", type=int, help="that make missing indices (default: cores)"
    )
    _add_storage_options(virtualize)
    virtualize.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    virtualize.add_argument("--json", action="store_true", help="print a JSON document")


def _add_bench(verbs: Any) -> None:
    bench = add(
        verbs,
        "bench",
        ("data_bench", "bench"),
        "Measure the storage that a directory lies on, in about two minutes; or compare results.",
    )
    bench.add_argument("directory", nargs="?", metavar="DIR", help="one that you may write to")
    bench.add_argument("--json", action="store_true", help="print the result as JSON, to keep it")
    bench.add_argument("--plot", metavar="FILE", help="draw it too, to a .png or .svg file")
    bench.add_argument(
        "--compare",
        metavar="OLD.json [NEW.json]",
        nargs="+",
        help="ratios to a result that was kept; with two of them nothing is measured",
    )
    bench.add_argument(
        "--workers",
        metavar="SCHEDULER",
        nargs="?",
        const="",
        help="measure from all Dask workers of this session at once (or of the cluster whose "
        "scheduler has this address), and from one alone",
    )
    bench.add_argument("--seconds", metavar="N", type=float, help="about so long (default: 120)")
    bench.add_argument(
        "--size",
        metavar="BYTES",
        help="of the largest file, for example '2 GiB' (default: by the speed, at most 1 GiB)",
    )
