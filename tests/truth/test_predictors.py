"""The reference fixture of predictors: all noises standard normal, every number exact.

X = .8A + E + u_X, Z = A + u_Z, Y = X + .6Z + .7A + .5E + u_Y. Risks and effects are those of the algebra; samples are
seeded and their errors a few times smaller than the limits.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import PCMError
from pcm_models.hospital_readmission import program

ROWS = 20_000


def with_parameters(n: int) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 2.0).expand([7]).to_event(1))
    with pyro.plate("units", n):
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        e = pyro.sample("E", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(b[0] * a + b[1] * e, 1.0))
        z = pyro.sample("Z", dist.Normal(b[2] * a, 1.0))
        pyro.sample("Y", dist.Normal(b[3] * x + b[4] * z + b[5] * a + b[6] * e, 1.0))


SCM = pcm.SCM(program)
FAIR = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
ROBUST = pcm.Requirement("E", outcome="Y", admissible=["E -> Y"])


@cache
def rows(seed: int = 1, spread: float | None = None) -> pd.DataFrame:
    model = SCM if spread is None else SCM.do(X=dist.Normal(0.0, spread**0.5))
    return model.sample(ROWS, seed=seed)


def risk(model: Any, data: pd.DataFrame) -> float:
    return float(((data["Y"] - model.predict(data)) ** 2).mean())


@pytest.mark.parametrize("family", ["linear", "mechanism"])
@pytest.mark.parametrize(
    ("requirements", "expected", "effects"),
    [
        ([], 1.0, {}),
        ([pcm.Requirement("A", outcome="Y")], 5.41, {"A": 0.0}),
        ([FAIR], 2.69, {"A": 0.8}),
        ([ROBUST], 2.0, {"E": 0.5}),
        ([FAIR, ROBUST], 3.69, {"A": 0.8, "E": 0.5}),
        ([pcm.Requirement("A", outcome="Y"), pcm.Requirement("E", outcome="Y")], 7.66, {"A": 0.0, "E": 0.0}),
    ],
)
def test_faithful_rows(family: str, requirements: list[Any], expected: float, effects: dict[str, float]) -> None:
    model = pcm.CausalRegressor(SCM, "Y", requirements=requirements, family=family, states=8).fit(rows())
    assert risk(model, rows(2)) == pytest.approx(expected, rel=0.03 if family == "mechanism" else 0.05)
    found = model.gaps(units=1_000)
    for source, effect in effects.items():
        assert found.loc[source, "pinned"] == pytest.approx(effect, abs=1e-9)
        assert found.loc[source, "effect"] == pytest.approx(effect, abs=1e-9 if family == "mechanism" else 0.03)


def test_the_observational_optimum_launders() -> None:
    """Risk 2.0305 and an effect of A of 1.307 through X, whose weight is 1.634."""
    model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], target="observational").fit(rows())
    assert risk(model, rows(2)) == pytest.approx(2.0305, rel=0.03)
    assert model.gaps(units=1_000).loc["A", "effect"] == pytest.approx(1.307, abs=0.03)


@pytest.mark.parametrize(("spread", "launders"), [(1.64, 3.752), (9.0, 6.711), (100.0, 43.306)])
def test_only_the_faithful_one_survives_an_intervention(spread: float, launders: float) -> None:
    data = rows(3, spread)
    settings: dict[str, Any] = {"requirements": [FAIR], "states": 8, "copies": 8}
    faithful = pcm.CausalRegressor(SCM, "Y", **settings).fit(rows())
    optimum = pcm.CausalRegressor(SCM, "Y", target="observational", **settings).fit(rows())
    assert risk(faithful, data) == pytest.approx(2.69, rel=0.04)
    assert risk(optimum, data) == pytest.approx(launders, rel=0.06)


def test_a_hidden_source_leaves_a_gap() -> None:
    """E hidden: risk 3.315 with an effect of E of .75 where .5 is pinned; matched 3.94 with none."""
    settings: dict[str, Any] = {"requirements": [FAIR, ROBUST], "hidden": ["E"]}
    faithful = pcm.CausalRegressor(SCM, "Y", family="mechanism", states=4, copies=64, **settings).fit(rows()[:2_000])
    assert risk(faithful, rows(2)[:4_000]) == pytest.approx(3.315, rel=0.06)
    gap = faithful.gaps(units=1_000)
    assert gap.loc["E", "effect"] == pytest.approx(0.75, abs=0.02) and gap.loc["E", "pinned"] == pytest.approx(0.5)
    matched = pcm.CausalRegressor(SCM, "Y", target="matched", **settings).fit(rows())
    assert risk(matched, rows(2)) == pytest.approx(3.94, rel=0.03)
    assert matched.gaps(units=1_000)["gap"].abs().max() < 1e-9


def test_a_fitted_model_does_it_too() -> None:
    model = pcm.SCM(with_parameters).fit(rows()[:4_000], seed=0, progress=False)
    fair = pcm.CausalRegressor(model, "Y", requirements=[FAIR], states=8, copies=8).fit(rows()[:4_000])
    assert risk(fair, rows(2)[:8_000]) == pytest.approx(2.69, rel=0.03)
    assert risk(fair, rows(3, 9.0)[:8_000]) == pytest.approx(2.69, rel=0.04)


@pytest.mark.slow
def test_a_model_fitted_to_many_rows_comes_within_three_per_cent() -> None:
    data = SCM.sample(100_000, seed=5)
    model = pcm.SCM(with_parameters).fit(data, seed=0, progress=False)
    settings: dict[str, Any] = {"requirements": [FAIR], "states": 8, "copies": 8}
    faithful = pcm.CausalRegressor(model, "Y", **settings).fit(data)
    optimum = pcm.CausalRegressor(model, "Y", target="observational", **settings).fit(data)
    for spread, launders in ((None, 2.0305), (1.64, 3.752), (9.0, 6.711), (100.0, 43.306)):
        there = SCM if spread is None else SCM.do(X=dist.Normal(0.0, spread**0.5))
        found = [risk(each, there.sample(100_000, seed=35)) for each in (faithful, optimum)]
        print(f"X of variance {spread or 'as it is'}: faithful {found[0]:.3f}, observational optimum {found[1]:.3f}")
        assert found == pytest.approx([2.69, launders], rel=0.03)
    assert faithful.gaps().loc["A", "effect"] == pytest.approx(0.8, rel=0.03)


def test_what_the_causal_model_does_not_know_is_in_the_prediction() -> None:
    """From 60 rows the weight of A on Z is known to sd .13; at Z's correction for A = 8 that alone is .6 of it."""
    model = pcm.SCM(with_parameters).fit(rows()[:60], seed=0, progress=False)
    settings: dict[str, Any] = {"requirements": [FAIR], "states": 64, "copies": 8, "family": "mechanism"}
    people = pd.DataFrame({"A": [8.0], "E": [0.0], "X": [6.4], "Z": [8.0]})
    b = model.posterior["b"].numpy()
    expected = (b[:, 3] * 6.4 + b[:, 4] * (8.0 - 8.0 * b[:, 2])).var()  # as the posterior has it
    found = pcm.CausalRegressor(model, "Y", **settings).fit(rows()[:60]).predict_distribution(people)
    assert found.epistemic[0] == pytest.approx(expected, rel=0.35)
    known = pcm.CausalRegressor(SCM, "Y", **settings).fit(rows()[:60]).predict_distribution(people)
    assert known.epistemic[0] < 0.05 * found.epistemic[0]


@pytest.mark.parametrize("family", ["linear", "gp", "network", "trees"])
def test_intervals_cover_the_outcome_and_the_target(family: str) -> None:
    """90 % intervals: of Y under the training law, of T when the source is set from outside."""
    from pcm.predict.families import GaussianProcess, Network, Trees

    small: dict[str, Any] = {"gp": GaussianProcess(200, 150), "network": Network((16,), 2, 500), "trees": Trees(4, 80)}
    chosen = small.get(family, family)
    model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], family=chosen, states=8, copies=8).fit(rows()[:2_000])
    data = rows(4)[:1_500]
    low, high = model.predict_distribution(data).interval(0.9).T
    assert 0.87 < ((low <= data["Y"]) & (data["Y"] <= high)).mean() < 0.93
    moved = SCM.do(A=2.0).sample(1_500, seed=5)
    rng = np.random.default_rng(0)
    target = moved["X"] + 0.6 * (moved["Z"] - 2.0) + 0.5 * moved["E"] + 1.3 * rng.normal(size=1_500)
    target += rng.normal(size=1_500)
    low, high = model.predict_distribution(moved).interval(0.9).T
    assert 0.85 < ((low <= target) & (target <= high)).mean() < 0.94


@pytest.mark.slow
def test_intervals_cover_where_inputs_are_nearly_collinear() -> None:
    """X = 2A + u / 2: the rows hardly tell X's weight from A's, and the target follows X alone."""

    def collinear() -> None:
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(2 * a, 0.5))
        pyro.sample("Y", dist.Normal(x + 2.0 * a, 1.0))

    from pcm.predict.families import Linear

    scm, held = pcm.SCM(collinear), []
    for seed in range(40):
        data, there = scm.sample(200, seed=10 * seed), scm.sample(500, seed=10 * seed + 1)
        settings: dict[str, Any] = {"family": Linear(degree=2), "states": 16, "copies": 4, "seed": seed}
        model = pcm.CausalRegressor(scm, "Y", requirements=[FAIR], **settings).fit(data)
        reference, noise = np.random.default_rng(seed).normal(size=(2, 500))
        low, high = model.predict_distribution(there).interval(0.9, of="target").T
        target = there["X"] + 2 * reference + noise
        held.append(((low <= target) & (target <= high)).mean())
    assert 0.86 < np.mean(held) < 0.94


def test_no_change_travels_along_an_inadmissible_path() -> None:
    """Through the replay: units moved to another A answer with .8 a step (A -> X -> Y), and not at all when blocked."""
    people = rows(6)[:200]
    step = 1e-3
    moved = SCM.counterfactual(people, do={"A": torch.tensor(people["A"].to_numpy() + step)})
    there = pd.DataFrame({name: moved.mean(name) for name in ("A", "E", "X", "Z")})
    for admissible, slope in (("none", 0.0), (["A -> X -> Y"], None)):
        fair = pcm.Requirement("A", outcome="Y", admissible=admissible)
        model = pcm.CausalRegressor(SCM, "Y", requirements=[fair], family="linear").fit(rows())
        change = (model.predict(there) - model.predict(people)) / step
        if slope is None:
            weight = model.predict(people.assign(X=people["X"] + 1.0)) - model.predict(people)
            assert np.abs(change - 0.8 * weight).max() < 1e-6
        else:
            assert np.abs(change).max() < 1e-6


def test_empty_cells_are_integrated_over() -> None:
    """Z missing in every second row: E[Z | A] = A there, so the correction leaves nothing of it and .36 more risk."""
    data = rows(2)[:4_000].copy()
    data.loc[data.index[::2], "Z"] = np.nan
    model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], family="mechanism", states=2, copies=64).fit(rows())
    error = (data["Y"] - model.predict(data)) ** 2
    assert error[::2].mean() == pytest.approx(3.05, rel=0.08)
    assert error[1::2].mean() == pytest.approx(2.69, rel=0.08)


@pytest.mark.parametrize("family", ["mechanism", "linear"])
def test_released_inputs_are_integrated_over(family: str) -> None:
    """Z behind Laplace noise: X + .6 E[u_Z | u_Z + noise] + .5 E, by quadrature; var(u_Z) = .63 of 1 is left."""
    lap = pcm.private.Laplace(scale=1.0, bounds=(-12.0, 12.0), clip=True)
    noisy = pcm.SCM(pcm.private.released(program, {"Z": lap}))
    drawn = noisy.sample(800, seed=1)
    train, test = (
        {**part[["A", "E", "X", "Y"]], "Z": pcm.private.Release(part["Z_released"], lap, name="Z")}
        for part in (drawn[:500], drawn[500:])
    )
    model = pcm.CausalRegressor(noisy, "Y", requirements=[FAIR], family=family, states=4, copies=16).fit(train)
    assert model.told_ == {"Z"}
    u = np.linspace(-8, 8, 2_001)
    seen = (test["Z"].values - test["A"].to_numpy())[:, None]
    weights = np.exp(-(u**2) / 2 - np.abs(seen - u))
    exact = test["X"] + 0.6 * (weights @ u) / weights.sum(1) + 0.5 * test["E"]
    # .36 · .63 / 64 by the 64 copies, and what 500 rows tell of a line
    assert np.mean((model.predict(test) - exact) ** 2) < (0.006 if family == "mechanism" else 0.03)
    assert model.gaps(units=100).loc["A", "effect"] == pytest.approx(0.8, abs=1e-6 if family == "mechanism" else 0.05)
    risk = pcm.interventional_risk(
        model, noisy, [{"A": 2.0}], units=200
    )  # rows that the model draws are shown as noisy
    assert risk.observational == pytest.approx(2.69 + 0.36 * 0.63, rel=0.25)


def test_releases_that_the_model_does_not_know_are_refused() -> None:
    lap = pcm.private.Laplace(scale=1.0, bounds=(-12.0, 12.0), clip=True)
    few = rows()[:50]
    told = {**few, "Z": pcm.private.Release(few["Z"], lap, name="Z")}
    model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR])
    with pytest.raises(PCMError, match=r"'Z' was released.*no noisy child.*private.released"):
        model.fit(told)
    noisy = pcm.SCM(pcm.private.released(program, {"Z": lap}))
    model = pcm.CausalRegressor(noisy, "Y", requirements=[FAIR])
    with pytest.raises(PCMError, match="plain column"):
        model.fit(noisy.sample(50, seed=0))
    with pytest.raises(PCMError, match="plain column"):
        pcm.augment(noisy, noisy.sample(50, seed=0), [FAIR])
    with pytest.raises(PCMError, match=r"DataFrame.*or a dict of columns"):
        model.fit(few.to_numpy())


def test_what_is_wrong_is_named() -> None:
    model = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR])
    with pytest.raises(PCMError, match=r"lack 'Z'.*hidden=\['Z'\]"):
        model.fit(rows().drop(columns="Z"))
    with pytest.raises(PCMError, match="lack the outcome 'Y'"):
        model.fit(rows().drop(columns="Y"))
    with pytest.raises(PCMError, match="'W' is not a variable"):
        pcm.CausalRegressor(SCM, "W").fit(rows())
    with pytest.raises(PCMError, match="about 'X'"):
        pcm.CausalRegressor(SCM, "Y", requirements=[pcm.Requirement("A", outcome="X")]).fit(rows())
    with pytest.raises(PCMError, match="says nothing about paths"):
        pcm.CausalRegressor(SCM, "Y", requirements=[pcm.demographic_parity("A", outcome="Y")]).fit(rows())
    with pytest.raises(PCMError, match="missing in 1 of"):
        model.fit(rows().assign(Y=rows()["Y"].where(rows().index != 7)))
    with pytest.raises(PCMError, match="target='best'"):
        pcm.CausalRegressor(SCM, "Y", target="best").fit(rows())
    with pytest.raises(PCMError, match="no category"):
        pcm.CausalClassifier(SCM, "Y").fit(rows())
