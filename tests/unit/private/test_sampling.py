"""Draws of OpenDP against the law of the site, by chi-square. OpenDP cannot be seeded: one false alarm in 10,000 runs
over all cells of a test together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from pcm import private
from pcm.couplings import tail
from pcm.couplings.registry import resolve
from pcm.private.finite import Finite
from tests.unit.private.cases import CASES

EVERY = [case for cases in CASES.values() for case in cases]
ALARM = 1e-4
LEAST = 10.0
"""Expected draws in a cell."""


def pvalue(case: Any, draws: int) -> float:
    mechanism = case.mechanism
    ledger = private.Ledger(epsilon=1e9, delta=1e-6, unit="row")
    released = mechanism.release([case.given] * draws, ledger, name="x")
    if isinstance(mechanism, Finite):
        chances = np.array([mechanism.probability(out, given=case.given) for out in mechanism.outputs])
        seen = np.bincount(mechanism.encode(released.values), minlength=len(chances))
    else:
        seen, chances = _binned(mechanism, case.given, released.values, draws)
    rare = chances * draws < LEAST
    if rare.any():
        seen, chances = np.append(seen[~rare], seen[rare].sum()), np.append(chances[~rare], chances[rare].sum())
        if chances[-1] * draws < LEAST:
            assert stats.poisson.sf(seen[-1] - 1, chances[-1] * draws) > ALARM / len(EVERY) / 2
            seen, chances = seen[:-1], chances[:-1] / chances[:-1].sum()
    if len(chances) == 1:
        return 1.0
    return float(stats.chisquare(seen, chances / chances.sum() * seen.sum()).pvalue)


def _binned(mechanism: Any, given: Any, values: np.ndarray, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and chances: of every whole number, or of 60 intervals between quantiles and the clamped ends."""
    law = mechanism.law(torch.tensor(float(given), dtype=torch.float64))
    if mechanism.integer:
        kinds, counts = np.unique(values, return_counts=True)
        grid = np.arange(kinds.min() - 1, kinds.max() + 2)
        law._validate_args = False
        chances = law.log_prob(torch.from_numpy(grid.astype(float))).exp().numpy()
        seen = np.zeros(len(grid))
        seen[kinds - grid[0]] = counts
        return np.append(seen, 0), np.append(chances, max(1 - math.fsum(chances), 0.0))
    base = law.base if mechanism.clamp else law
    coupling, bare = resolve(base)
    levels = torch.arange(1, 60, dtype=torch.float64) / 60
    inner = coupling.quantile(bare, tail.from_uniform(levels)).numpy()
    low, high = mechanism.clamp or (None, None)
    ends = [end for end in (low, high) if end is not None]
    bottom, top = -np.inf if low is None else low, np.inf if high is None else high
    edges = np.concatenate([[bottom], inner[(inner > bottom) & (inner < top)], [top]])
    below = tail.to_cdf(coupling.tail(bare, torch.from_numpy(edges))).numpy()
    between = (values != low) & (values != high)
    seen, _ = np.histogram(values[between], np.clip(edges, -1e300, 1e300))
    atoms = [(values == end).sum() for end in ends]
    sizes = [below[0] if end == low else 1 - below[-1] for end in ends]
    return np.concatenate([seen, atoms]), np.concatenate([np.diff(below), sizes])


@pytest.mark.parametrize("name", CASES)
def test_a_few_thousand_draws(name) -> None:
    for case in CASES[name][5:7]:
        assert pvalue(case, 2_500) > ALARM / 14, str(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", EVERY, ids=str)
def test_200_000_draws(case) -> None:
    assert pvalue(case, 200_000) > ALARM / len(EVERY)


def test_the_test_sees_a_wrong_law() -> None:
    """A keep-probability misstated by .03, a scale by 10 %: rejected at 20,000 draws."""
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    other = private.RandomizedResponse(epsilon=math.log((rr.keep + 0.03) / (1 - rr.keep - 0.03)), categories=[0, 1])
    seen = np.bincount(rr.release([1] * 20_000, private.Ledger(epsilon=1.0, unit="row"), name="x").values)
    assert stats.chisquare(seen, other.matrix()[1] * 20_000).pvalue < 1e-8
    laplace = private.Laplace(scale=1.0, bounds=(0, 1))
    values = laplace.release([0.0] * 20_000, private.Ledger(epsilon=1.0, unit="row"), name="x").values
    seen, chances = _binned(private.Laplace(scale=1.1, bounds=(0, 1)), 0.0, values, 20_000)
    assert stats.chisquare(seen, chances * 20_000).pvalue < 1e-8


def test_every_row_is_noised_from_its_own_value() -> None:
    """Bits are packed eight to a byte: each must come back to its own row."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 203)
    sure = private.RandomizedResponse(epsilon=15.0, categories=["no", "yes"])
    ledger = private.Ledger(epsilon=1e6, delta=1e-9, unit="row")
    released = sure.release(np.array(["no", "yes"], dtype=object)[truth], ledger, name="x")
    assert (released.values == np.array(["no", "yes"], dtype=object)[truth]).all()
    fine = private.DiscreteLaplace(scale=0.02, bounds=(0, 1_000))
    assert (fine.release(np.arange(1_000), ledger, name="y").values == np.arange(1_000)).all()
    picks = private.Exponential(epsilon=500.0, categories=[0, 1, 2], utility=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert picks.release([2, 0, 1] * 50, ledger, name="z").values.tolist() == [2, 0, 1] * 50


def test_answers_are_clipped_and_clamped() -> None:
    ledger = private.Ledger(epsilon=1e6, unit="row")
    tight = private.Laplace(scale=1e-3, bounds=(0, 1), clip=True, clamp=(0, 1))
    values = tight.release([-5.0, 0.5, 9.0], ledger, name="x").values
    assert values.min() >= 0 and values.max() <= 1 and values == pytest.approx([0, 0.5, 1], abs=0.05)


def test_no_feature_of_opendp_stays_switched_on() -> None:
    from opendp.mod import GLOBAL_FEATURES

    before = set(GLOBAL_FEATURES)
    for cases in CASES.values():
        cases[0].mechanism.release([cases[0].given], private.Ledger(epsilon=1e6, delta=1e-6), name="x")
    assert set(GLOBAL_FEATURES) == before
