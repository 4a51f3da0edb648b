"""Above 131,072 units a query runs in blocks; every unit's answer is the one it has alone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.query import points

UNITS = 2 * points.BLOCK + 700
LABELS = ["none", "basic", "full"]


def program(n, *, age):
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Normal(0.1 * age, 1.0))
        plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * z, z, -z], -1)))
        twice = pyro.deterministic("twice", 2 * z)
        v = pyro.sample("v", dist.Normal(torch.stack([z, -z], -1), 1.0).to_event(1))
        x = pyro.sample("x", dist.Normal(twice + plan + v.sum(-1), 1.0))
        y = pyro.sample("y", dist.Bernoulli(logits=x))
        with pyro.plate("visits", 2, dim=-2):
            w = pyro.sample("w", dist.Normal(x, 1.0))
        pyro.sample("t", dist.Poisson(torch.exp(torch.tanh(w.sum(0) + y))))


@pytest.fixture(scope="module")
def big():
    scm = pcm.SCM(program, categories={"plan": LABELS})
    ages = pd.DataFrame({"age": np.linspace(0, 9, UNITS)}, index=pd.RangeIndex(5, UNITS + 5))
    return scm, scm.sample(data=ages, seed=0)


def test_blocks_answer_as_the_units_alone(big):
    scm, frame = big
    rng = np.random.default_rng(0)
    value, pair, labels = rng.normal(size=UNITS), rng.normal(size=(UNITS, 2)), rng.integers(0, 3, UNITS)
    visits = rng.normal(size=(2, UNITS))
    rows = np.array([0, 1, points.BLOCK - 1, points.BLOCK, 2 * points.BLOCK - 1, 2 * points.BLOCK, UNITS - 1])

    def worlds(part):
        return {
            "per unit": {"z": value[part]},
            "vector": {"v": torch.as_tensor(pair[part])},
            "visits": {"w": visits[:, part]},
            "labels": {"plan": np.array(LABELS)[labels[part]]},
            "deterministic": {"twice": value[part]},
            "shift": {"x": lambda x: x + 1},
            "edge": {("z", "plan"): value[part]},
            "covariate": {"age": lambda age: age + 1},
        }

    whole = scm.counterfactual(frame, worlds=worlds(slice(None)), draws=2, seed=1)
    part = scm.counterfactual(frame.iloc[rows], worlds=worlds(rows), draws=2, seed=1)
    assert list(whole.index[rows]) == list(part.index)
    for world in part.worlds:
        for name in ("age", "z", "twice", "v", "x", "y", "w"):
            a, b = whole.mean(name, world)[rows], part.mean(name, world)
            if whole._run.exact(world, name) if world != "factual" else True:
                assert np.all(np.abs(a - b) <= 1e-12 * np.maximum(1, np.abs(b))), (world, name)
        a, b = (made.probability("plan", "basic", world) for made in (whole, part))
        assert np.abs(a[rows] - b).max() <= 1e-12, world
        if world != "factual":
            assert np.array_equal(whole.draws("y", world)[:, rows], part.draws("y", world)), world


def test_an_error_in_a_late_block_names_the_unit(big):
    scm, frame = big
    bad = frame.copy()
    bad.loc[bad.index[-3], "y"] = 2
    with pytest.raises(pcm.PCMError, match=rf"'y'[\s\S]*{bad.index[-3]}"):
        scm.counterfactual(bad, do={"z": 0.0})
    short = np.zeros(UNITS - 1)
    with pytest.raises(pcm.PCMError, match="z"):
        scm.counterfactual(frame, do={"z": short})


def test_a_large_fitted_model_equals_its_units_alone():
    def regression(n):
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(b * x, 1.0))

    scm = pcm.SCM(regression)
    fitted = scm.fit(scm.given(b=0.5).sample(20, seed=0), progress=False, seed=0, draws=3)
    frame = scm.given(b=0.5).sample(UNITS, seed=1)
    rows = [0, points.BLOCK, UNITS - 1]
    whole = fitted.counterfactual(frame, do={"x": 1.0}, seed=0)
    part = fitted.counterfactual(frame.iloc[rows], do={"x": 1.0}, seed=0)
    assert np.abs(whole.draws("y")[:, rows] - part.draws("y")).max() <= 1e-12
