"""Mean-field guides on a noised parent are refused: no guide ever sees a unit's true value, nor parameters without
their correlations."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

import pcm
from pcm import private
from pcm.errors import ArgumentError, FitError

LAPLACE = private.Laplace(scale=1.0, bounds=(-6, 6))
RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])


def line(n: int) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 2.0))
    m = pyro.sample("m", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(m, 1.0))
        pyro.sample("y", dist.Normal(b * x, 0.5))


def written(n: int) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 2.0))
    m = pyro.sample("m", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(m, 1.0))
        private.observe("told", x, LAPLACE)
        pyro.sample("y", dist.Normal(b * x, 0.5))


def answers(n: int = 100) -> dict[str, object]:
    frame = pcm.SCM(line).given(b=1.0, m=0.0).sample(n, seed=0)
    told = LAPLACE.simulate(frame["x"], seed=1)
    return {"x": private.Release(told.values, LAPLACE), "y": frame["y"].to_numpy()}


def test_svi_integrates_the_true_values_and_guides_the_parameters_alone() -> None:
    """The same posterior as Laplace's; a guide over units is many of its own deviations off (the bench)."""

    def survey(n: int) -> None:
        b = pyro.sample("b", dist.Normal(0.0, 2.0))
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Bernoulli(0.4))
            pyro.sample("y", dist.Normal(b * z, 1.0))

    frame = pcm.SCM(survey).given(b=1.0).sample(500, seed=0)
    data = {"z": private.Release(RR.simulate(frame["z"], seed=1).values, RR), "y": frame["y"].to_numpy()}
    exact = pcm.SCM(survey).fit(data, draws=2_000, seed=0, progress=False).posterior
    found = pcm.SCM(survey).fit(data, "svi", steps=120, draws=2_000, seed=0, progress=False).posterior
    assert exact is not None and found is not None
    assert set(found.draws) == {"b"}
    assert found.diagnostics["guide"] == "multivariate Gaussian"
    spread = float(exact["b"].std())
    assert abs(float(found["b"].mean() - exact["b"].mean())) < 0.2 * spread
    assert float(found["b"].std()) == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("program", [line, written])
def test_a_diagonal_guide_is_refused_by_the_noised_variables_name(program) -> None:
    data = answers()
    if program is written:
        data["told"] = data.pop("x")
    with pytest.raises(FitError, match=r"mean-field.*private answers of x.*family='full'") as caught:
        pcm.SCM(program).fit(data, "svi", family="diagonal", progress=False)
    assert caught.value.noised == ["x"]


def test_so_is_the_one_that_many_parameters_would_take() -> None:
    def wide(n: int) -> None:
        effects = pyro.sample("effects", dist.Normal(torch.zeros(201), 1.0).to_event(1))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(effects.sum() * x, 1.0))

    with pytest.raises(FitError, match=r"mean-field.*private answers of x"):
        pcm.SCM(wide).fit(answers(50), "svi", steps=5, progress=False)


def test_so_is_one_for_noisy_sums_alone() -> None:
    def shares(n: int) -> None:
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        q = pyro.sample("q", dist.Beta(2.0, 2.0))
        with pyro.plate("units", n):
            z = pyro.sample("z", dist.Bernoulli(p))
            pyro.sample("t", dist.Bernoulli(torch.where(z == 1, q, 0.3)))

    table = private.CrossTable({"z": [0, 1], "t": [0, 1]}, epsilon=1.0)
    made = private.Aggregate(np.array([40.0, 20.0, 15.0, 25.0]), table, rows=100)
    with pytest.raises(FitError, match="private answers of z, t"):
        pcm.SCM(shares).fit(made, "svi", family="diagonal", progress=False)


def test_no_guide_over_units_can_be_handed_in() -> None:
    with pytest.raises(ArgumentError, match="has no option 'guide'"):
        pcm.SCM(written).fit({"told": answers()["x"]}, "svi", guide=AutoNormal(written), progress=False)


def test_a_method_of_ones_own_sees_parameters_alone() -> None:
    class Seen:
        name = "seen"
        names: tuple[str, ...] = ()

        def fit(self, target, *, draws=1000, seed=None, progress=True):
            Seen.names, Seen.noised = target.names, target.noised
            return pcm.infer.Laplace().fit(target, draws=draws, seed=seed, progress=progress)

    pcm.SCM(line).fit(answers(50), Seen(), draws=10, seed=0, progress=False)
    assert Seen.names == ("b", "m") and Seen.noised == ("x",)


def test_without_private_answers_a_diagonal_guide_is_the_users_choice() -> None:
    frame = pcm.SCM(line).given(b=1.0, m=0.0).sample(100, seed=0)
    fitted = pcm.SCM(line).fit(frame, "svi", family="diagonal", steps=100, seed=0, progress=False)
    assert fitted.posterior is not None and fitted.posterior.diagnostics["guide"] == "diagonal Gaussian"
