"""What the two intervals of a faithful prediction hold, where the target's law and the outcome's differ.

X = 1.5A + u_X, Z = A + u_Z, Y = XA + Z + u_Y, all noises standard normal, A -> X -> Y admissible. The target reads a
draw R of A's marginal in place of A: T = XR + (Z - A + R) + u_Y. It moves by X + 1 with R; Y by a product of A with
what A moves itself, so that E[Y] is 1.5 and E[T] 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest

import pcm
from pcm.errors import PCMError
from pcm.predict.families import Linear
from tests.bench.coverage import SMALL, coverage, held


def program() -> None:
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(1.5 * a, 1.0))
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(x * a + z, 1.0))


SCM = pcm.SCM(program)
KEPT = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
QUADRATIC: Any = Linear(degree=2)


def target(rows: pd.DataFrame, seed: int) -> np.ndarray:
    reference, noise = np.random.default_rng(seed).normal(size=(2, len(rows)))
    return (rows["X"] * reference + rows["Z"] - rows["A"] + reference + noise).to_numpy()


@pytest.mark.parametrize("family", [QUADRATIC, "mechanism"], ids=["linear", "mechanism"])
def test_each_interval_holds_what_it_says(family: Any) -> None:
    rows, test = SCM.sample(2_000, seed=1), SCM.sample(4_000, seed=2)
    model = pcm.CausalRegressor(SCM, "Y", requirements=[KEPT], family=family, states=16, copies=16).fit(rows)
    found = model.predict_distribution(test)
    assert held(found.interval(0.9, of="target"), target(test, 3)) == pytest.approx(0.9, abs=0.02)
    assert held(found.interval(0.9, of="outcome"), test["Y"]) == pytest.approx(0.9, abs=0.02)
    over = (test["Y"] > found.interval(0.9, of="target")[:, 1]).mean()
    assert over > 0.09  # where .05 would be right: the one says nothing of the other
    below = found.quantile([0.05, 0.5, 0.95], of="outcome")
    assert [(test["Y"] < q).mean() for q in below.T] == pytest.approx([0.05, 0.5, 0.95], abs=0.02)
    for level in (0.0, 2.0):  # a source set from outside: the target's still does
        moved = SCM.do(A=level).sample(4_000, seed=4)
        interval = model.predict_distribution(moved).interval(0.9)
        assert held(interval, target(moved, 5)) == pytest.approx(0.9, abs=0.02)


def test_neither_interval_tells_the_source() -> None:
    """Twins by A whose X is held: same noise, same admissible inputs, the same two intervals."""
    model = pcm.CausalRegressor(SCM, "Y", requirements=[KEPT], family="mechanism").fit(SCM.sample(500, seed=1))
    people = SCM.sample(50, seed=2)
    twins = people.assign(A=people["A"] + 1.5, Z=people["Z"] + 1.5)
    one, two = (model.predict_distribution(rows).to_dataframe() for rows in (people, twins))
    assert np.abs(one - two).to_numpy().max() < 1e-9
    assert list(one.columns[-4:]) == ["low", "high", "outcome_low", "outcome_high"]


def test_a_prediction_says_whose_law_it_has() -> None:
    rows = SCM.sample(500, seed=1)
    for settings in ({"target": "observational"}, {"target": "matched"}):
        found = pcm.CausalRegressor(SCM, "Y", requirements=[KEPT], **settings).fit(rows).predict_distribution(rows)
        assert found.of == "outcome" and np.array_equal(found.interval(), found.interval(of="outcome"))
        with pytest.raises(PCMError, match="not faithful"):
            found.interval(of="target")
    plain = pcm.CausalRegressor(SCM, "Y", family=QUADRATIC).fit(rows).predict_distribution(rows)
    assert np.array_equal(plain.interval(of="target"), plain.interval(of="outcome"))
    with pytest.raises(PCMError, match="neither 'target' nor 'outcome'"):
        plain.interval(of="truth")  # pyright: ignore[reportArgumentType]


def test_a_refit_forgets_the_rows_before() -> None:
    model = pcm.CausalRegressor(SCM, "Y", requirements=[KEPT], family="mechanism").fit(SCM.sample(500, seed=1))
    people = SCM.sample(20, seed=2)
    before = model.predict_distribution(people)
    first = before.interval(of="outcome")
    shifted = SCM.do(A=3.0).sample(500, seed=3)
    again = model.fit(shifted).predict_distribution(people).interval(of="outcome")
    assert np.array_equal(first, before.interval(of="outcome")) and np.abs(again - first).max() > 1.0


@pytest.mark.slow
@pytest.mark.parametrize("family", list(SMALL))
def test_coverage_over_replications(family: str) -> None:
    """2,000 test units x 200 replications: mean coverage of 90 % intervals in .88 to .92."""
    assert coverage(family).mean().between(0.88, 0.92).all()
