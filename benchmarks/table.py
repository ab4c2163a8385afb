"""What a benchmark found: rounds of named figures, and how they are shown."""

from __future__ import annotations

import os
import statistics
from dataclasses import dataclass

__all__ = ["Table"]


@dataclass(frozen=True)
class Table:
    """Figures of the same kind, measured in turn.

    Attributes
    ----------
    title : str
        What is measured, with the unit.
    rounds : list of dict
        One figure for each name, in every round.
    peer : str, optional
        The name that all others are divided by, round by round. Without it the figures are shown
        as they are.
    hourly : tuple of str
        Names of which the sum is shown too, as so much an hour: then rounds are minutes.
    """

    title: str
    rounds: list[dict[str, float]]
    peer: str | None = None
    hourly: tuple[str, ...] = ()

    def show(self) -> None:
        """Print the median of each figure and its ratio to the peer's of the same round."""
        last = f"/ {self.peer}" if self.peer else "an hour" if self.hourly else ""
        print(f"\n{self.title}\n{'':34} {'median':>10} {'min':>10} {'max':>10} {last:>20}")
        for name in self.rounds[0]:
            values = [one[name] for one in self.rounds]
            row = f"{statistics.median(values):10.3f} {min(values):10.3f} {max(values):10.3f}"
            if self.peer:
                ratios = [one[name] / one[self.peer] for one in self.rounds]
                spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
                row += f" {statistics.median(ratios):8.2f} ({spread})"
            elif name in self.hourly:
                row += f" {sum(values) * 60 / len(values):20.0f}"
            print(f"{name:34} {row}")
        print(f"{len(self.rounds)} rounds; load at the end {os.getloadavg()[0]:.1f}", flush=True)
