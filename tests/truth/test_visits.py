"""Visits within patients: an inner plate, and a plate inside that, in every kind of query."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm_models.visits import evidence, truth


def value(question: str) -> float:
    return truth[question][0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [(("drug", "score", "pain"), "given three scores"), (("drug", "pain"), "given the pain alone")],
)
def test_the_hidden_frailty(scm, columns, words):
    cf = scm.counterfactual({name: evidence[name] for name in columns}, do={"drug": 0})
    assert cf.mean("frailty", "factual")[0] == pytest.approx(value(f"frailty, {words}"), abs=1e-10)
    assert cf.sd("frailty", "factual")[0] == pytest.approx(value(f"sd of frailty, {words}"), abs=1e-10)
    apart = np.array(evidence["pain"]) - cf.mean("pain")
    assert apart == pytest.approx(value("effect of the drug on pain at every visit"), abs=1e-10)


def test_units_that_lack_different_things(scm):
    whole = scm.sample(6, seed=0)
    scores, pains = ([f"{name}[{visit}]" for visit in range(3)] for name in ("score", "pain"))
    holes = whole.drop(columns="frailty").copy()
    holes.loc[[0, 2], scores] = np.nan
    cf = scm.counterfactual(holes, do={"drug": 0}, seed=0)
    alone = scm.counterfactual(holes.loc[[0, 2]].drop(columns=scores), do={"drug": 0}, seed=0)
    seen = scm.counterfactual(holes.loc[[1, 3, 4, 5]], do={"drug": 0}, seed=0)
    for name in ("frailty", "score", "pain"):
        assert cf.mean(name)[[0, 2]] == pytest.approx(alone.mean(name), abs=1e-10)
        assert cf.mean(name)[[1, 3, 4, 5]] == pytest.approx(seen.mean(name), abs=1e-10)
    assert cf.mean("pain", "factual") == pytest.approx(whole[pains].to_numpy(), abs=1e-12)


def wards(n):
    """Patients with two limbs, each seen at three visits: plates at dims −2 and −3."""
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        age = pyro.sample("age", dist.Normal(0.0, 1.0))
        with pyro.plate("limbs", 2, dim=-2):
            strength = pyro.sample("strength", dist.Normal(slope * age, 0.5))
            with pyro.plate("visits", 3, dim=-3):
                pyro.sample("reach", dist.Normal(2.0 * strength + torch.arange(3.0)[:, None, None], 0.4))


def test_plates_within_plates():
    scm = pcm.SCM(wards)
    seen = scm.given(slope=0.7).sample(400, seed=0)
    fitted = scm.fit(seen, seed=0, draws=100, progress=False)
    # slope given the strengths: conjugate, prior precision 1
    age, strength = seen["age"].to_numpy(), seen[["strength[0]", "strength[1]"]].to_numpy()
    precision = 1 + 2 * (age**2).sum() / 0.25
    assert float(fitted.posterior["slope"].mean()) == pytest.approx(
        (strength.sum(1) * age).sum() / 0.25 / precision, abs=4 / precision**0.5 / 10
    )
    cf = scm.given(slope=0.7).counterfactual(seen, do={"age": lambda age: age + 1})
    assert cf.mean("reach").shape == (400, 3, 2)
    assert cf.mean("reach") - cf.mean("reach", "factual") == pytest.approx(np.full((400, 3, 2), 1.4), abs=1e-12)
    lost = seen.drop(columns=["strength[0]", "strength[1]"])
    cf = scm.given(slope=0.7).counterfactual(lost, do={"age": 0.0})
    reach = cf.mean("reach", "factual")  # strength: prior .7 age with precision 4, three readings with precision 4/.16
    found = (0.7 * age[:, None] * 4 + ((reach - np.arange(3)[:, None]) * 2 / 0.16).sum(1)) / (4 + 3 * 4 / 0.16)
    assert cf.mean("strength", "factual") == pytest.approx(found, abs=1e-10)
    assert cf.mean("strength") == pytest.approx(found - 0.7 * age[:, None], abs=1e-10)
