"""What a benchmark of a directory found, as values that are kept as JSON."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpclaunch.errors import StorageError

__all__ = ["FORMAT", "Benchmark", "Measure", "read_result"]

FORMAT = "hpclaunch-bench-1"


@dataclass(frozen=True)
class Measure:
    """One thing that was measured some times. More is always better.

    Attributes
    ----------
    key : str
        ``task/variant``, the same in every result.
    what : str
        In words.
    unit : str
        ``MiB/s``, or ``1/s`` of what `what` says.
    rates : tuple of float
        One a round, in their order; at least one.
    cold : bool or None
        Whether this machine's page cache was empty of the file; None where that makes no
        difference.
    """

    key: str
    what: str
    unit: str
    rates: tuple[float, ...]
    cold: bool | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.rates)

    @property
    def low(self) -> float:
        return min(self.rates)

    @property
    def high(self) -> float:
        return max(self.rates)

    @property
    def task(self) -> str:
        return self.key.partition("/")[0]

    @property
    def variant(self) -> str:
        return self.key.partition("/")[2]


@dataclass(frozen=True)
class Benchmark:
    """What was measured in a directory.

    Attributes
    ----------
    facts : dict
        Of the machine, the file system, the versions and the sizes.
    measures : tuple of Measure
    left_out : dict
        Why something was not measured, by its key.
    notes : tuple of str
        What must be known to read the numbers.
    """

    facts: dict[str, Any]
    measures: tuple[Measure, ...]
    left_out: dict[str, str]
    notes: tuple[str, ...] = ()

    def get(self, key: str) -> Measure | None:
        """The measure of this key; None where it was left out."""
        return next((one for one in self.measures if one.key == key), None)

    def rate(self, key: str) -> float:
        """The median rate of this key; 0 where it was left out."""
        found = self.get(key)
        return 0.0 if found is None else found.median

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able fields; `from_dict` reads them back."""
        measures = [
            {**asdict(one), "median": one.median, "low": one.low, "high": one.high}
            for one in self.measures
        ]
        return {
            "format": FORMAT,
            "facts": self.facts,
            "measures": measures,
            "left_out": self.left_out,
            "notes": list(self.notes),
        }

    @staticmethod
    def from_dict(fields: Mapping[str, Any]) -> Benchmark:
        """Read what `to_dict` made.

        Raises
        ------
        ValueError
            If these are not its fields.
        """
        if fields.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        try:
            measures = tuple(_measure(one) for one in fields["measures"])
            left_out = {str(key): str(why) for key, why in fields["left_out"].items()}
            notes = tuple(map(str, fields["notes"]))
            return Benchmark(dict(fields["facts"]), measures, left_out, notes)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"a field is missing or of a wrong kind: {error}") from error


def _measure(fields: Mapping[str, Any]) -> Measure:
    rates = tuple(float(rate) for rate in fields["rates"])
    if not rates or not all(math.isfinite(rate) and rate > 0 for rate in rates):
        raise ValueError(f"the rates of {fields['key']} are not numbers above 0")
    cold = fields["cold"]
    return Measure(
        str(fields["key"]),
        str(fields["what"]),
        str(fields["unit"]),
        rates,
        None if cold is None else bool(cold),
    )


def read_result(path: str | os.PathLike[str]) -> Benchmark:
    """Read a result that ``hpclaunch data bench --json`` printed.

    Raises
    ------
    StorageError
        If the file cannot be read, or is no such result.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(document, dict):
            raise ValueError("it is no JSON object")
        return Benchmark.from_dict(document)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise StorageError(
            f"{path} is no result of a benchmark: {why}",
            hint="make one with `hpclaunch data bench DIR --json > FILE`",
        ) from error
