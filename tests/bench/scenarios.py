"""A thousand scenarios of 10,000 units in one call: time and peak memory against the same written by hand in torch.

``python -m tests.bench.scenarios [--worlds 1000] [--units 10000] [--limit 500MB]`` prints one line. Scenarios on the
model of :mod:`tests.bench.five_sites` are, in turn: a constant, a shift, a policy, a single arrow, a value a unit with
a constant, and a distribution (16 draws). Asked is P(y = 1) of every unit in every scenario. Each side is a process of
its own, and peak is how far resident memory rises over the data. By hand the noise of every site is pulled back once,
and each scenario computes what lies below it; there is nothing to plan, check or account for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from tests.bench import five_sites

__all__ = ["KINDS", "by_hand", "measure", "settings", "worlds_of"]

DRAWS = 16
KINDS = ("constant", "shift", "policy", "arrow", "unit", "distribution")


def settings(count: int) -> list[tuple[str, float]]:
    """Kind and number of each scenario."""
    return [(KINDS[place % len(KINDS)], -2.0 + 4.0 * place / count) for place in range(count)]


def worlds_of(count: int, units: int) -> dict[str, dict[Any, Any]]:
    """The scenarios as pcm takes them."""
    ramp = torch.linspace(0.0, 1.0, units, dtype=torch.float64)

    def world(kind: str, c: float) -> dict[Any, Any]:
        made: dict[str, dict[Any, Any]] = {
            "constant": {"x2": c},
            "shift": {"x2": lambda x2: x2 + c},
            "policy": {"x3": lambda x1: x1.clamp(min=c)},
            "arrow": {("x2", "x5"): c},
            "unit": {"x1": ramp + c, "x4": c},
            "distribution": {"x3": dist.Normal(c, 1.0)},
        }
        return made[kind]

    return {f"{kind} {c:.3f}": world(kind, c) for kind, c in settings(count)}


def by_hand(seen: dict[str, Tensor], count: int) -> np.ndarray:
    """P(y = 1), ``(world, unit)``; of distributions over noise of its own."""
    x1, x2, x3, x4, x5, y = (seen[name] for name in five_sites.SITES)
    u2, u3 = x2 - 0.8 * x1, x3 - (-0.3 * x1 + 0.5 * x2)
    u4, u5 = x4 - 0.6 * x3, x5 - (0.4 * x2 - 0.2 * x3 + 0.7 * x4)
    p = torch.sigmoid(0.9 * x5 - 0.4 * x3)
    ramp = torch.linspace(0.0, 1.0, len(x1), dtype=torch.float64)
    made = np.empty((count, len(x1)))

    def outcome(read2: Tensor | float, new3: Tensor, new4: Tensor | None = None) -> Tensor:
        new4 = 0.6 * new3 + u4 if new4 is None else new4
        q = torch.sigmoid(0.9 * (0.4 * read2 - 0.2 * new3 + 0.7 * new4 + u5) - 0.4 * new3)
        return torch.where(y > 0.5, (q / p).clamp(max=1.0), (q - p).clamp(min=0.0) / (1 - p))

    for place, (kind, c) in enumerate(settings(count)):
        if kind in ("constant", "shift"):
            new2 = torch.full_like(x2, c) if kind == "constant" else x2 + c
            chance = outcome(new2, -0.3 * x1 + 0.5 * new2 + u3)
        elif kind == "policy":
            chance = outcome(x2, x1.clamp(min=c))
        elif kind == "arrow":
            chance = outcome(c, x3, x4)
        elif kind == "unit":
            new2 = 0.8 * (ramp + c) + u2
            chance = outcome(new2, -0.3 * (ramp + c) + 0.5 * new2 + u3, torch.full_like(x4, c))
        else:
            chance = outcome(x2, c + torch.randn(DRAWS, len(x1), dtype=torch.float64)).mean(0)
        made[place] = chance.numpy()
    return made


def measure(side: str, worlds: int, units: int, limit: str | None) -> dict[str, float]:
    """Seconds of the faster of two calls, peak MiB of the first, largest error against the other side; this process."""
    import pcm
    from tests.bench.table import _peak
    from tests.bench.timing import settle_allocator

    torch.set_num_threads(1)
    settle_allocator()
    scm, seen = pcm.SCM(five_sites.program), five_sites.evidence(units)

    def query(count: int) -> np.ndarray:
        if side == "by hand":
            return by_hand(seen, count)
        cf = scm.counterfactual(
            seen, worlds=worlds_of(count, units), outcome="y", memory_limit=limit, draws=DRAWS, seed=0
        )
        return cf.means("y").values[1:]

    query(len(KINDS))  # first-call caches
    before, seconds = _peak(), []
    found = np.empty(0)
    for turn in range(2):
        begun = time.perf_counter()
        found = query(worlds)
        seconds.append(time.perf_counter() - begun)
        if turn == 0:
            peak = _peak() - before
    exact = [place for place, (kind, _) in enumerate(settings(worlds)) if kind != "distribution"]
    pairs = zip(exact, by_hand(seen, worlds)[exact], strict=True)
    apart = max(float(np.abs(found[place] - row).max()) for place, row in pairs)
    return {"seconds": min(seconds), "peak": peak, "error": apart}


def compare(worlds: int, units: int, limit: str | None) -> dict[str, dict[str, float]]:
    """Both sides, each in a process of its own."""
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    made = {}
    for side in ("by hand", "pcm"):
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.scenarios", "--side", side]
        command += ["--worlds", str(worlds), "--units", str(units), *(["--limit", limit] if limit else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
        made[side] = json.loads(done.stdout.strip().splitlines()[-1])
    return made


def line(made: dict[str, dict[str, float]], worlds: int, units: int, limit: str | None) -> str:
    """The README's line."""
    hand, mine = made["by hand"], made["pcm"]
    return (
        f"{worlds:,} scenarios of every kind × {units:,} units, P(y = 1) of each: {mine['seconds']:.1f} s"
        + (f" under memory_limit={limit}" if limit else "")
        + f", peak {mine['peak']:.0f} MiB (the answers alone are {8 * worlds * units / 2**20:.0f}); by hand "
        f"{hand['seconds']:.1f} s, {hand['peak']:.0f} MiB; {mine['seconds'] / hand['seconds']:.1f} ×; largest "
        f"difference {mine['error']:.1e}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--worlds", type=int, default=1_000)
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--limit", default=None)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(measure(given.side, given.worlds, given.units, given.limit)))
        return
    print(line(compare(given.worlds, given.units, given.limit), given.worlds, given.units, given.limit))


if __name__ == "__main__":
    main()
