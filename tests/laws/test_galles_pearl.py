"""Galles and Pearl's axioms on random discrete SCMs, with the enumeration of their noises as the reference.

Each variable is a random table of its parents and of a finite noise of its own, so that a row a combination of the
noises is the whole model: every counterfactual is read off the tables.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm

VALUES, NOISES = 2, 3
NAMES = ("a", "b", "c", "d")


class Tables:
    """``name = table[parents…, noise]`` over a random graph."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.parents = {name: [p for p in NAMES[:place] if rng.random() < 0.7] for place, name in enumerate(NAMES)}
        self.tables = {name: rng.integers(0, VALUES, (VALUES,) * len(self.parents[name]) + (NOISES,)) for name in NAMES}
        self.chances = {name: rng.dirichlet(np.full(NOISES, 2.0)) for name in NAMES}
        noises = np.array(list(itertools.product(range(NOISES), repeat=len(NAMES))))
        self.noises = pd.DataFrame(noises, columns=[f"u_{name}" for name in NAMES])
        self.weights = np.prod([self.chances[name][noises[:, place]] for place, name in enumerate(NAMES)], axis=0)

    def program(self) -> None:
        """The tables as an explicit-noise program."""
        values = {}
        for name in NAMES:
            noise = pyro.sample(f"u_{name}", dist.Categorical(torch.tensor(self.chances[name])))
            index = (*[values[parent].long() for parent in self.parents[name]], noise.long())
            values[name] = pyro.deterministic(name, torch.tensor(self.tables[name], dtype=torch.float64)[index])

    def solve(self, sets: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Every variable under every combination of the noises."""
        found: dict[str, np.ndarray] = {}
        for name in NAMES:
            index = (*[found[parent] for parent in self.parents[name]], self.noises[f"u_{name}"].to_numpy())
            found[name] = np.broadcast_to(sets.get(name, self.tables[name][index]), len(self.noises)).astype(int)
        return found


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
def test_axioms_under_every_combination_of_the_noises(seed):
    """Composition, effectiveness, reversibility; and every value is that of the tables."""
    model = Tables(seed)
    scm = pcm.SCM(model.program)
    rng = np.random.default_rng(seed)
    x, w, y = rng.permutation(NAMES)[:3]
    at, other = rng.integers(0, VALUES, 2).astype(float)

    def world(sets):
        cf = scm.counterfactual(model.noises, do=sets, draws=1, seed=0)
        found = {name: cf.draws(name)[0] for name in NAMES}
        reference = model.solve({name: np.asarray(value).astype(int) for name, value in sets.items()})
        for name in NAMES:
            assert (found[name] == reference[name]).all(), (sets, name)
        return found

    alone = world({x: at})
    both = world({x: at, w: torch.tensor(alone[w])})
    for name in NAMES:
        assert (both[name] == alone[name]).all()  # composition: W_x = w, so Y_xw = Y_x
    assert (world({x: at, w: other})[x] == at).all()  # effectiveness: X_xw = x
    y_of, w_of = world({x: at, w: other})[y], world({x: at, y: other})[w]
    agree = (y_of == other) & (w_of == other)  # reversibility: Y_xw = y and W_xy = w, so Y_x = y
    assert (alone[y][agree] == other).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_counterfactuals_of_what_was_seen_are_the_sum_over_the_noises(seed):
    """``P(Y_x = 1 | seen)``, with the noises and some variables unseen, other ones for each row."""
    model = Tables(seed)
    scm = pcm.SCM(model.program)
    factual, forced = model.solve({}), model.solve({"b": np.array(1)})
    rng = np.random.default_rng(seed)
    rows = rng.choice(len(model.noises), 8, p=model.weights)
    seen = pd.DataFrame({name: factual[name][rows].astype(float) for name in NAMES})
    seen = seen.mask(rng.random(seen.shape) < 0.4)
    cf = scm.counterfactual(seen, do={"b": 1.0}, seed=0)
    for name in NAMES:
        found = cf.mean(name)
        for row, values in enumerate(seen.to_dict("records")):
            fits = model.weights * np.all(
                [np.isnan(value) | (factual[at] == value) for at, value in values.items()], axis=0
            )
            assert found[row] == pytest.approx((fits * forced[name]).sum() / fits.sum(), abs=1e-12), (name, values)
