"""A treatment's effect by age, pcm beside EconML: error against truth, intervals, time.

``python -m tests.bench.conditional_effects`` prints a Markdown table. A drug's effect on recovery is 1 + age / 2, and
who gets it depends on severity. pcm is told the equations with their coefficients open; EconML is told which columns
are confounders, and learns the rest by boosted trees. In the second half of the table severity acts by a sine, which
the program given to pcm does not have.

>>> sorted(systems())
['EconML, CausalForestDML', 'EconML, LinearDML', 'pcm.cate of a fitted program']
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm

__all__ = ["main", "measure", "program", "systems"]

_FIFTHS = 5
#: Mean effect in each group of rows, its 95 % interval, and the same for all rows: (group + 1,), (group + 1, 2).
Found = tuple[np.ndarray, np.ndarray]


def program(n: int) -> None:
    """Linear in everything but the treatment's effect, which grows with age."""
    w = pyro.sample("w", dist.Normal(0.0, 3.0).expand([7]).to_event(1))
    sd = pyro.sample("sd", dist.HalfNormal(3.0))
    with pyro.plate("units", n):
        age = pyro.sample("age", dist.Normal(0.0, 1.0))
        severity = pyro.sample("severity", dist.Normal(w[0] * age, 1.0))
        drug = pyro.sample("drug", dist.Bernoulli(logits=w[1] * severity))
        level = w[2] + w[3] * age + w[4] * severity + drug * (w[5] + w[6] * age)
        pyro.sample("recovery", dist.Normal(level, sd))


def rows_of(count: int, seed: int, *, sine: bool) -> pd.DataFrame:
    """Rows by numpy: what the program says, or with ``3 sin(2 severity)`` in place of ``- severity``."""
    rng = np.random.default_rng(seed)
    age, by_severity, by_recovery = rng.normal(size=(3, count))
    severity = 0.5 * age + by_severity
    drug = (rng.random(count) < 1 / (1 + np.exp(-severity))) * 1.0
    harm = -3 * np.sin(2 * severity) if sine else -severity
    recovery = 0.3 * age + harm + drug * (1 + age / 2) + by_recovery
    return pd.DataFrame({"age": age, "severity": severity, "drug": drug, "recovery": recovery})


def systems() -> dict[str, Callable[[pd.DataFrame, np.ndarray, int], Found]]:
    """From rows and their groups to effects, by name."""
    return {
        "pcm.cate of a fitted program": _ours,
        "EconML, LinearDML": _linear_dml,
        "EconML, CausalForestDML": _forest,
    }


def _ours(rows: pd.DataFrame, group: np.ndarray, seed: int) -> Found:
    fitted = pcm.SCM(program).fit(rows, seed=seed, progress=False)
    by_age = pcm.cate(fitted, "drug", "recovery", given=["age"], data=rows, bins=_FIFTHS, seed=seed)
    every = pcm.ate(fitted, "drug", "recovery", data=rows, seed=seed)
    return np.append(by_age.mean, float(every)), np.vstack([by_age.interval(0.95), every.interval(0.95)])


def _linear_dml(rows: pd.DataFrame, group: np.ndarray, seed: int) -> Found:
    from econml.dml import LinearDML

    return _dml(LinearDML(**_nuisances(seed)), rows, group)


def _forest(rows: pd.DataFrame, group: np.ndarray, seed: int) -> Found:
    from econml.dml import CausalForestDML

    return _dml(CausalForestDML(**_nuisances(seed), n_estimators=200, n_jobs=1), rows, group)


def _nuisances(seed: int) -> dict[str, Any]:
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    settings: dict[str, Any] = {"max_iter": 100, "max_leaf_nodes": 8, "random_state": seed}
    return {
        "model_y": HistGradientBoostingRegressor(**settings),
        "model_t": HistGradientBoostingClassifier(**settings),
        "discrete_treatment": True,
        "random_state": seed,
    }


def _dml(model: Any, rows: pd.DataFrame, group: np.ndarray) -> Found:
    model.fit(rows["recovery"], rows["drug"], X=rows[["age"]], W=rows[["severity"]])
    means, ends = [], []
    for members in [*(group == k for k in range(_FIFTHS)), group >= 0]:
        inference = model.ate_inference(rows.loc[members, ["age"]])
        means.append(float(inference.mean_point))
        ends.append(np.ravel(inference.conf_int_mean(alpha=0.05)))
    return np.array(means), np.array(ends)


def measure(name: str, *, rows: int, replications: int, sine: bool) -> dict[str, float]:
    """Errors, coverage of 95 % intervals of the groups' effects, and seconds, over replications."""
    errors, held, widths, seconds = [], [], [], []
    for seed in range(replications):
        data = rows_of(rows, seed, sine=sine)
        group = pd.qcut(data["age"], _FIFTHS, labels=False).to_numpy()
        truth = np.append((1 + data["age"] / 2).groupby(group).mean(), (1 + data["age"] / 2).mean())
        begun = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            means, ends = systems()[name](data, group, seed)
        seconds.append(time.perf_counter() - begun)
        errors.append(means - truth)
        held.append((ends[:-1, 0] <= truth[:-1]) & (truth[:-1] <= ends[:-1, 1]))
        widths.append(ends[:-1, 1] - ends[:-1, 0])
    off = np.array(errors)
    return {
        "average": float(np.sqrt((off[:, -1] ** 2).mean())),
        "groups": float(np.sqrt((off[:, :-1] ** 2).mean())),
        "held": float(np.mean(held)),
        "width": float(np.mean(widths)),
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--replications", type=int, default=20)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| | error of the average | … by fifth of age | 95 % intervals hold | their width | seconds |")
    print("|---|--:|--:|--:|--:|--:|")
    for sine in (False, True):
        for name in systems():
            found = measure(name, rows=given.rows, replications=given.replications, sine=sine)
            what = f"{name}{'; severity acts by a sine' if sine else ''}"
            parts = f"{found['average']:.3f} | {found['groups']:.3f} | {found['held']:.2f} | {found['width']:.2f}"
            print(f"| {what} | {parts} | {found['seconds']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
