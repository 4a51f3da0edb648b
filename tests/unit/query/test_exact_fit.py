"""A column that the program reproduces exactly: the fit stops at once and names the column and the parameter."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest

import pcm

DOSE = np.random.default_rng(0).exponential(size=200)


def response(n):
    level = pyro.sample("level", dist.Normal(0.0, 5.0))
    slope = pyro.sample("slope", dist.Normal(0.0, 5.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Exponential(1.0))
        pyro.sample("response", dist.Normal(level + slope * dose, scale))


def precise(n):
    rate = pyro.sample("rate", dist.HalfCauchy(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.StudentT(4.0, x, 1 / rate))


@pytest.mark.parametrize("method", ["laplace", "map", "svi"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full(200, 1.5), r"column 'response' is constant \(1.5 in all 200 rows\).* 'scale' has .*Drop the column"),
        (DOSE, "column 'response' repeats the column 'dose' in all 200 rows.*'scale' has no finite estimate"),
        (1 + 2 * DOSE, "column 'response' is reproduced exactly by the program in all 200 rows.*pyro.deterministic"),
    ],
)
def test_the_column_and_the_parameter_are_named(values: np.ndarray, words: str, method: str) -> None:
    with pytest.raises(pcm.PCMError, match=words) as found:
        pcm.SCM(response).fit({"dose": DOSE, "response": values}, method=method, seed=0, progress=False)
    assert found.value.column == "response" and found.value.parameters == ["scale"]  # type: ignore[attr-defined]


def test_a_single_row_is_named() -> None:
    def level(n):
        middle, scale = pyro.sample("middle", dist.Normal(0.0, 5.0)), pyro.sample("scale", dist.HalfCauchy(1.0))
        with pyro.plate("units", n):
            pyro.sample("y", dist.Normal(middle, scale))

    with pytest.raises(pcm.PCMError, match=r"column 'y' has a single row.*'scale' has no finite estimate. Give more"):
        pcm.SCM(level).fit({"y": [2.0]}, method="map", seed=0, progress=False)
    with pytest.raises(pcm.PCMError, match=r"single row|1 row of data"):
        pcm.SCM(level).fit({"y": [2.0]}, seed=0, progress=False)


def test_a_rate_that_runs_away_is_named_too() -> None:
    x = np.random.default_rng(1).normal(size=50)
    with pytest.raises(pcm.PCMError, match=r"column 'y' repeats the column 'x' in all 50 rows.*'rate' has no finite"):
        pcm.SCM(precise).fit({"x": x, "y": x}, seed=0, progress=False)


def test_a_small_scale_on_purpose_is_no_runaway() -> None:
    def gauge(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 5.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 1e-9))

    x = np.random.default_rng(2).normal(size=50)
    fitted = pcm.SCM(gauge).fit({"x": x, "y": 2.0 * x}, seed=0, progress=False)
    assert float(fitted.posterior.mean("slope")) == pytest.approx(2.0, abs=1e-8)  # type: ignore[union-attr]


def test_little_noise_is_still_noise() -> None:
    rng = np.random.default_rng(3)
    data = {"dose": DOSE, "response": 1 + 2 * DOSE + 1e-6 * rng.normal(size=200)}
    fitted = pcm.SCM(response).fit(data, seed=0, progress=False)
    assert float(fitted.posterior.mean("scale")) == pytest.approx(1e-6, rel=0.2)  # type: ignore[union-attr]
