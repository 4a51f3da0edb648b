"""How often the intervals of predictions hold what they say, over many trainings: 90 % is right.

``python -m tests.bench.coverage`` prints a Markdown table (eight minutes of one core; ``--families linear`` for less).
X = .8A + E + u_X, Z = A + u_Z, Y = X + .6Z + .7A + .5E + u_Y, all noises standard normal, A -> X -> Y admissible: the
target reads a draw R of A's marginal, T = X + .6 (Z - A + R) + .7R + .5E + u_Y.

>>> coverage("linear", replications=1, train=200, test=100).columns.tolist()
['outcome', 'target', 'target, A set']
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import pandas as pd
import torch

import pcm
from pcm.predict.families import Family, GaussianProcess, Linear, Network, Trees
from tests.bench.predictors import FAIR, SCM

__all__ = ["SMALL", "coverage", "held", "main"]

#: Smaller than the defaults, so that 200 replications of all four take minutes.
SMALL: dict[str, Family] = {
    "linear": Linear(),
    "gp": GaussianProcess(most=150, inducing=150),
    "network": Network(hidden=(16,), ensemble=2, steps=400),
    "trees": Trees(folds=5, max_iter=100),
}


def held(interval: np.ndarray, values: Any) -> float:
    """Share of the values that lie in their intervals ``(row, 2)``."""
    low, high = interval.T
    return float(((low <= values) & (values <= high)).mean())


def coverage(family: str, *, replications: int = 200, train: int = 500, test: int = 2_000) -> pd.DataFrame:
    """Share of ``test`` units that each replication's 90 % intervals hold: of Y under the training law, of T under it
    and under ``do(A = 1)``; a row a replication."""
    settings: dict[str, Any] = {"family": SMALL[family], "states": 8, "copies": 4}
    found = []
    for k in range(replications):
        rows, here = SCM.sample(train, seed=10 * k), SCM.sample(test, seed=10 * k + 1)
        there = SCM.do(A=1.0).sample(test, seed=10 * k + 2)
        model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], seed=k, **settings).fit(rows)
        targets = []
        for place, units in enumerate((here, there)):
            reference, noise = np.random.default_rng([k, place]).normal(size=(2, test))
            part = units["X"] + 0.6 * (units["Z"] - units["A"]) + 0.5 * units["E"]
            targets.append(part.to_numpy() + 1.3 * reference + noise)
        one, two = model.predict_distribution(here), model.predict_distribution(there)
        found.append(
            {
                "outcome": held(one.interval(0.9, of="outcome"), here["Y"]),
                "target": held(one.interval(0.9, of="target"), targets[0]),
                "target, A set": held(two.interval(0.9, of="target"), targets[1]),
            }
        )
    return pd.DataFrame(found)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--replications", type=int, default=200)
    parser.add_argument("--families", nargs="*", default=list(SMALL), choices=list(SMALL))
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| 90 % intervals | of Y, training law | of T, training law | of T, do(A = 1) | CPU s a replication |")
    print("|---|--:|--:|--:|--:|")
    for family in given.families:
        begun = time.process_time()
        found = coverage(family, replications=given.replications).mean()
        seconds = (time.process_time() - begun) / given.replications
        print(f"| {family} | {' | '.join(f'{share:.3f}' for share in found)} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
