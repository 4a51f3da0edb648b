"""The bench's table: every rival at 1e3 … 1e6 units, as multiples of the hand-written floor, with memory and error.

``python -m tests.bench.table [--units 1000 100000] [--rivals pcm dowhy] [--settled]`` prints it as Markdown. Each cell
is a process of its own: it times the rival and its floor interleaved (so the machine's drift cancels in the ratio), on
one core, and reads how far the peak of its resident memory rises over the data in one call.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.rivals import FRAME_FLOOR, NOTES, RIVALS, TENSOR_FLOOR, prepare

__all__ = ["Cell", "cell", "markdown", "measure", "run"]

UNITS = (1_000, 10_000, 100_000, 1_000_000)
LIMIT = 60.0
"""Seconds a single call may take; larger sizes are then left out."""


@dataclass(frozen=True)
class Cell:
    """One rival at one number of units.

    Attributes
    ----------
    seconds : float
        Median of a call.
    ratio : float
        Median over rounds of the multiple of the floor's time.
    rounds : int
    peak : float
        MiB that one call adds to the peak of resident memory.
    error : float
        Largest absolute error of an answer; NaN where none is read out.
    """

    rival: str
    units: int
    seconds: float
    ratio: float
    rounds: int
    peak: float
    error: float


def measure(rival: str, units: int, rounds: int = 31, settled: bool = False) -> Cell:
    """Measure one rival in this process; ``settled`` says with the allocator of a process that has run for a while."""
    import torch

    from tests.bench import five_sites
    from tests.bench.timing import interleaved, settle_allocator

    torch.set_num_threads(1)
    prepare(rival, 100)()  # imports and first-call caches
    if settled:
        settle_allocator()
    answer = prepare(rival, units)
    before = _peak()
    answers = answer()
    peak = _peak() - before
    wrong = five_sites.error(answers, five_sites.evidence(units)) if isinstance(answers, tuple) else float("nan")
    del answers
    floor = prepare(FRAME_FLOOR if "frame" in rival or rival == "dowhy" else TENSOR_FLOOR, units)
    times = interleaved([floor, answer], rounds=rounds, budget=20.0)
    return Cell(rival, units, times.median(1), times.ratio(1, 0), len(times.seconds[0]), peak, wrong)


def cell(rival: str, units: int, rounds: int = 31, settled: bool = False) -> Cell | str:
    """Measure one rival in a process of its own; what it said last where it failed."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.table", "--cell", rival, str(units), str(rounds)]
    command += ["--settled"] if settled else []
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    return Cell(**json.loads(done.stdout.strip().splitlines()[-1]))


def run(
    units: Sequence[int] = UNITS, rivals: Sequence[str] = tuple(RIVALS), rounds: int = 31, settled: bool = False
) -> list[Cell | tuple[str, str]]:
    """All cells; a rival whose next size would take too long, or that fails, stops there with the reason."""
    found: list[Cell | tuple[str, str]] = []
    for rival in rivals:
        for size in units:
            made = cell(rival, size, rounds, settled)
            if isinstance(made, str):
                found.append((rival, f"{size:,} units: {made}"))
                break
            found.append(made)
            print(f"  {rival}, {size:,} units: {made.seconds * 1e3:.3g} ms", file=sys.stderr, flush=True)
            if made.seconds * 10 > LIMIT:
                break
    return found


def markdown(found: Sequence[Cell | tuple[str, str]]) -> str:
    """The table."""
    rows = [cell for cell in found if isinstance(cell, Cell)]
    lines = [
        "| units | who | ms a call | × floor | peak MiB | largest error | |",
        "|--:|---|--:|--:|--:|--:|---|",
    ]
    order = {rival: place for place, rival in enumerate(RIVALS)}
    for row in sorted(rows, key=lambda cell: (cell.units, order[cell.rival])):
        wrong = "" if row.error != row.error else f"{row.error:.1e}"
        few = "" if row.rounds >= 30 else f"median of {row.rounds} rounds"
        note = "; ".join(filter(None, [few, NOTES.get(row.rival)]))
        lines.append(
            f"| {row.units:,} | {row.rival} | {row.seconds * 1e3:.3g} | {row.ratio:.2f} | {row.peak:.0f} | {wrong} "
            f"| {note} |"
        )
    lines += [f"\n{rival}: {why}" for rival, why in (entry for entry in found if not isinstance(entry, Cell))]
    floors = (
        f"Floor: '{TENSOR_FLOOR}', for frames '{FRAME_FLOOR}', timed in the same process as the row; float64, one "
        "core, medians of interleaved rounds."
    )
    return "\n".join([*lines, "", floors])


def _peak() -> float:
    """MiB of the peak of resident memory so far (kilobytes on Linux, bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _one_core() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--units", type=int, nargs="+", default=UNITS)
    parser.add_argument("--rivals", nargs="+", default=list(RIVALS), choices=list(RIVALS))
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument(
        "--settled", action="store_true", help="with the allocator of a process that has run for a while"
    )
    parser.add_argument("--cell", nargs=3, metavar=("RIVAL", "UNITS", "ROUNDS"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.cell:
        warnings.simplefilter("ignore")
        _one_core()
        rival, units, rounds = given.cell
        print(json.dumps(asdict(measure(rival, int(units), int(rounds), given.settled))))
        return
    print(markdown(run(given.units, given.rivals, given.rounds, given.settled)))


if __name__ == "__main__":
    main()
