"""Releases as evidence: which columns are let in, and posteriors against Bayes's rule by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from scipy import integrate, stats

import pcm
from pcm import private
from pcm.errors import EvidenceError, StoreError, UnknownNameError

RR = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])


def survey() -> None:
    smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
    pyro.sample("weight", dist.Normal(70.0 + 3.0 * smoker, 2.0))
    private.observe("reported", smoker, RR)


def plain() -> None:
    smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
    pyro.sample("weight", dist.Normal(70.0 + 3.0 * smoker, 2.0))


def release(values, mechanism=RR, **names) -> private.Release:
    return private.Release(values, mechanism, **names)


def smoking(reported: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """P(smoker | reported, weight) by Bayes's rule."""
    odds = 0.3 / 0.7 * np.exp(np.where(reported == 1, 1.0, -1.0))
    odds = odds * stats.norm.pdf(weight, 73, 2) / stats.norm.pdf(weight, 70, 2)
    return odds / (1 + odds)


REPORTED, WEIGHT = np.array([1, 0, 1, 0]), np.array([70.0, 74.0, 73.0, 69.0])


@pytest.mark.parametrize("program", [survey, plain])
def test_counterfactuals_know_the_mechanism(program) -> None:
    """A release under the noisy site's name, or under the true variable's: one and the same evidence."""
    name = "reported" if program is survey else "smoker"
    scm = pcm.SCM(program)
    data = {name: release(REPORTED), "weight": WEIGHT}
    cf = scm.counterfactual(data, do={"smoker": 0}, seed=0)
    expected = smoking(REPORTED, WEIGHT)
    np.testing.assert_allclose(cf.probability("smoker", 1, world="factual"), expected, rtol=1e-12)
    np.testing.assert_allclose(cf.mean("weight"), WEIGHT - 3 * expected, rtol=1e-12)
    assert "smoker_released" in cf.variables or program is survey
    assert scm.variables == pcm.SCM(program).variables, "the model itself is as it was"
    assert f"private noise: {RR!r}" in str(cf.account)


def test_the_noisy_answer_moves_with_the_true_value() -> None:
    """do acts on the true variable, and its noisy child follows: gumbel-max, here P(stay) in closed form."""
    cf = pcm.SCM(survey).counterfactual(
        {"reported": release([1]), "weight": [71.0], "smoker": [0.0]}, do={"smoker": 1}, seed=0
    )
    assert cf.probability("reported", 1)[0] == pytest.approx(1.0)
    back = pcm.SCM(survey).counterfactual(
        {"reported": release([1]), "weight": [71.0], "smoker": [1.0]}, do={"smoker": 0}, seed=0
    )
    assert back.probability("reported", 1)[0] == pytest.approx((1 - RR.keep) / RR.keep)


def test_effects_average_over_the_released_units() -> None:
    def dose() -> None:
        smoker = pyro.sample("smoker", dist.Bernoulli(0.3))
        t = pyro.sample("t", dist.Bernoulli(0.2 + 0.5 * smoker))
        pyro.sample("y", dist.Normal((1.0 + 2.0 * smoker) * t, 1.0))

    data = {"smoker": release(REPORTED), "t": [1.0, 0.0, 0.0, 1.0], "y": [2.0, 0.1, 0.3, 0.5]}
    t, y = (np.array(data[name]) for name in "ty")
    odds = 0.3 / 0.7 * np.exp(np.where(REPORTED == 1, 1.0, -1.0)) * np.where(t == 1, 0.7 / 0.2, 0.3 / 0.8)
    odds = odds * stats.norm.pdf(y, 3 * t) / stats.norm.pdf(y, t)
    found = pcm.ate(pcm.SCM(dose), "t", "y", data=data, seed=0)
    assert float(found) == pytest.approx((1 + 2 * odds / (1 + odds)).mean(), rel=1e-9)


def test_three_noised_variables_are_enumerated_together() -> None:
    """Confounder, treatment and outcome: Σ over eight configurations, by hand."""
    two = private.RandomizedResponse(epsilon=2.0, categories=[0, 1])

    def trial() -> None:
        z = pyro.sample("z", dist.Bernoulli(0.4))
        t = pyro.sample("t", dist.Bernoulli(0.2 + 0.6 * z))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.3 * t + 0.4 * z))

    cells = [(z, t, y) for z in (0, 1) for t in (0, 1) for y in (0, 1)]
    answers = np.array(cells)
    data = {
        name: release(answers[:, place], m) for place, (name, m) in enumerate(zip("zty", (RR, two, RR), strict=True))
    }
    found = pcm.SCM(trial).counterfactual(data, do={"t": 1}, seed=0)
    joint = np.zeros((8, 8))
    for row, (rz, rt, ry) in enumerate(cells):
        for column, (z, t, y) in enumerate(cells):
            pt, py = 0.2 + 0.6 * z, 0.1 + 0.3 * t + 0.4 * z
            law = (0.4 if z else 0.6) * (pt if t else 1 - pt) * (py if y else 1 - py)
            joint[row, column] = law * RR.matrix()[z, rz] * two.matrix()[t, rt] * RR.matrix()[y, ry]
    posterior = joint / joint.sum(1, keepdims=True)
    for place, name in enumerate("zty"):
        expected = posterior @ answers[:, place]
        np.testing.assert_allclose(found.probability(name, 1, world="factual"), expected, rtol=1e-10)
    # y under do(t = 1), monotone: kept or raised with the noise of the factual y
    kept = []
    for z, t, y in cells:
        p, q = 0.1 + 0.3 * t + 0.4 * z, 0.4 + 0.4 * z
        kept.append(min(1.0, q / p) if y else max(q - p, 0) / (1 - p))
    np.testing.assert_allclose(found.probability("y", 1), posterior @ kept, rtol=1e-10)


@pytest.mark.parametrize("clamp", [None, (0.0, 4.0)])
@pytest.mark.parametrize("family", [private.Laplace, private.Gaussian])
def test_a_noised_covariate_is_inferred(family, clamp) -> None:
    """Posterior mean of the covariate against quadrature."""
    mechanism = family(scale=1.5, bounds=(0, 4), clip=True, clamp=clamp)

    def clinic() -> None:
        dose = pyro.sample("dose", dist.Normal(2.0, 1.0))
        pyro.sample("y", dist.Normal(dose, 0.8))

    answers, y = np.array([0.0, 1.0, 3.0, 4.0]), np.array([1.0, 3.0, 2.0, 3.5])
    data = {"dose": release(answers, mechanism), "y": y}
    cf = pcm.SCM(clinic).counterfactual(data, do={"dose": 0.0}, draws=4_000, seed=0)

    def expected(answer: float, outcome: float) -> float:
        def weight(dose: float) -> float:
            noise = mechanism.law(torch.tensor(dose, dtype=torch.float64)).log_prob(torch.tensor(answer)).exp().item()
            return noise * stats.norm.pdf(dose, 2, 1) * stats.norm.pdf(outcome, dose, 0.8)

        def integral(function) -> float:
            return integrate.quad(lambda dose: function(dose) * weight(dose), -3, 7, points=points)[0]

        points = sorted({0.0, answer, 4.0})
        return integral(lambda dose: dose) / integral(lambda dose: 1.0)

    found = cf.mean("dose", world="factual")
    truth = np.array([expected(*each) for each in zip(answers, y, strict=True)])
    np.testing.assert_allclose(found, truth, atol=0.06)
    assert np.abs(found - answers).max() > 0.3, "the answer is not taken for the truth"


def test_a_bend_of_the_noise_is_not_overlooked() -> None:
    """Between its kinks Laplace noise leaves a normal density: N(lab; 0, 1) e^{-|answer - lab|}, by quadrature.

    The outcome is open too, so that two numbers are; a kink up to five standard deviations away counts.
    """
    noise = private.Laplace(scale=1.0, bounds=(-12, 12), clip=True)

    def clinic() -> None:
        lab = pyro.sample("lab", dist.Normal(0.0, 1.0))
        private.observe("noisy", lab, noise)
        pyro.sample("stay", dist.Normal(lab, 1.0))

    answers = np.repeat(np.linspace(-4.0, 4.0, 33), 6)
    cf = pcm.SCM(clinic).counterfactual({"noisy": release(answers, noise)}, do={"stay": 0.0}, draws=1_000, seed=0)
    assert "gaussian" not in set(cf.diagnostics["method"])
    grid = np.linspace(-8, 8, 4_001)
    weights = np.exp(-(grid**2) / 2 - np.abs(answers[:, None] - grid))
    truth = (weights @ grid) / weights.sum(1)
    np.testing.assert_allclose(cf.mean("lab", world="factual"), truth, atol=0.12)  # 0.025 is one standard error


# -- fits --------------------------------------------------------------------------------------------------------------


def shares(n: int) -> None:
    p = pyro.sample("p", dist.Beta(2.0, 2.0))
    with pyro.plate("units", n):
        pyro.sample("smoker", dist.Bernoulli(p))


@pytest.mark.parametrize("method", ["laplace", pytest.param("nuts", marks=pytest.mark.slow)])
def test_a_fits_posterior_is_the_one_by_hand(method) -> None:
    answers = np.array([1] * 40 + [0] * 60)
    options = {"draws": 1_000} if method == "laplace" else {"draws": 1_200, "warmup": 200}
    fitted = pcm.SCM(shares).fit({"smoker": release(answers)}, method, seed=0, progress=False, **options)
    grid = np.linspace(1e-4, 1 - 1e-4, 4_000)
    yes = grid * RR.keep + (1 - grid) * (1 - RR.keep)
    weight = stats.beta.pdf(grid, 2, 2) * np.exp(40 * np.log(yes) + 60 * np.log(1 - yes))
    mean = (grid * weight).sum() / weight.sum()
    spread = math.sqrt((grid**2 * weight).sum() / weight.sum() - mean**2)
    drawn = fitted.posterior["p"].numpy() if isinstance(fitted.posterior["p"], torch.Tensor) else fitted.posterior["p"]
    assert abs(drawn.mean() - mean) < 4 * spread / math.sqrt(200)
    assert drawn.std() == pytest.approx(spread, rel=0.2)


def test_the_added_child_is_the_written_one() -> None:
    def written(n: int) -> None:
        p = pyro.sample("p", dist.Beta(2.0, 2.0))
        with pyro.plate("units", n):
            private.observe("smoker_released", pyro.sample("smoker", dist.Bernoulli(p)), RR)

    answers = release([1, 0, 1, 1, 0, 0, 1])
    first = pcm.SCM(shares).fit({"smoker": answers}, seed=0, progress=False)
    second = pcm.SCM(written).fit({"smoker_released": answers}, seed=0, progress=False)
    assert torch.equal(torch.as_tensor(first.posterior["p"]), torch.as_tensor(second.posterior["p"]))
    assert set(first.graph.edges) == set(second.graph.edges) == {("smoker", "smoker_released")}
    # the fitted model has the child: the same release is evidence again, under either name
    for name in ("smoker", "smoker_released"):
        cf = first.counterfactual({name: answers}, do={"smoker": 1}, seed=0)
        assert 0 < cf.probability("smoker", 1, world="factual")[0] < 1


def test_a_network_keeps_its_weights(tmp_path) -> None:
    class Risk(PyroModule):
        def __init__(self) -> None:
            super().__init__()
            self.slope = PyroParam(torch.tensor(0.1))

        def forward(self, n: int) -> None:
            with pyro.plate("units", n):
                smoker = pyro.sample("smoker", dist.Bernoulli(0.4))
                pyro.sample("y", dist.Normal(self.slope * smoker, 1.0))

    rng = np.random.default_rng(0)
    smoker = rng.random(600) < 0.4
    y = 2.0 * smoker + rng.normal(size=600)
    answers = RR.simulate(smoker.astype(int), seed=0)
    data = {"smoker": release(answers.values), "y": y}
    fitted = pcm.SCM(Risk()).fit(data, "map", seed=0, progress=False)
    found = float(pcm.ate(fitted, "smoker", "y", seed=0))
    assert abs(found - 2.0) < 0.5
    fitted.save(tmp_path / "risk.pcm")
    with pytest.raises(StoreError, match="smoker_released"):
        pcm.load(tmp_path / "risk.pcm", program=Risk())
    again = pcm.load(tmp_path / "risk.pcm", program=private.released(Risk(), {"smoker": RR}))
    assert float(pcm.ate(again, "smoker", "y", seed=0)) == found
    assert again.counterfactual(data, do={"smoker": 1}, seed=0).mean("y").shape == (600,)


def test_labels_and_names_of_units() -> None:
    def visit() -> None:
        plan = pyro.sample("plan", dist.Categorical(torch.tensor([0.5, 0.3, 0.2])))
        pyro.sample("y", dist.Normal(plan.to(torch.get_default_dtype()), 1.0))

    labels = ["none", "basic", "full"]
    rr = private.RandomizedResponse(epsilon=1.5, categories=labels)
    people = pd.Series(["full", "none", "basic"], index=["ann", "bob", "cy"], name="plan")
    answers = rr.release(people, private.Ledger(epsilon=2.0))
    assert answers.name == "plan" and answers.to_series().index.tolist() == ["ann", "bob", "cy"]
    y = pd.Series([2.0, 0.0, 1.0], index=people.index)
    scm = pcm.SCM(visit, categories={"plan": labels})
    cf = scm.counterfactual({"plan": answers, "y": y}, do={"plan": "none"}, seed=0)
    codes = rr.encode(answers.values)
    weight = np.array([0.5, 0.3, 0.2]) * rr.matrix()[:, codes].T * stats.norm.pdf(y.to_numpy()[:, None], [0, 1, 2])
    expected = (weight / weight.sum(1, keepdims=True))[:, 2]
    np.testing.assert_allclose(cf.probability("plan", "full", world="factual"), expected, rtol=1e-10)
    assert cf.index.tolist() == ["ann", "bob", "cy"]
    with pytest.raises(pcm.PCMError, match="index"):
        scm.counterfactual({"plan": answers, "y": y.iloc[::-1]}, do={"plan": "none"})
    other = private.RandomizedResponse(epsilon=1.5, categories=["full", "basic", "none"])
    with pytest.raises(EvidenceError, match="same order"):
        scm.counterfactual({"plan": release(["full"] * 3, other), "y": [1.0] * 3}, do={"plan": "none"})


# -- what is let in ----------------------------------------------------------------------------------------------------


def test_a_plain_column_is_no_evidence_of_private_noise() -> None:
    scm = pcm.SCM(survey)
    frame = pd.DataFrame({"reported": REPORTED, "weight": WEIGHT})
    for data in (
        frame,
        dict(frame),
        pa.Table.from_pandas(frame),
        {"reported": RR.simulate(REPORTED), "weight": WEIGHT},
    ):
        with pytest.raises(EvidenceError, match=r"private\.public") as caught:
            scm.counterfactual(data, do={"smoker": 0})
        assert caught.value.column == "reported"  # pyright: ignore
    # without it the noisy child is latent, and nothing else
    cf = scm.counterfactual(frame.drop(columns="reported"), do={"smoker": 0}, seed=0)
    odds = 3 / 7 * stats.norm.pdf(WEIGHT, 73, 2) / stats.norm.pdf(WEIGHT, 70, 2)
    np.testing.assert_allclose(cf.probability("smoker", 1, world="factual"), odds / (1 + odds), rtol=1e-12)


def test_declared_public_data_is_evidence() -> None:
    scm, expected = pcm.SCM(survey), smoking(REPORTED, WEIGHT)
    for values in (private.public(REPORTED), private.public(private.Simulated(REPORTED, pd.RangeIndex(4), RR))):
        cf = scm.counterfactual({"reported": values, "weight": WEIGHT}, do={"smoker": 0}, seed=0)
        np.testing.assert_allclose(cf.probability("smoker", 1, world="factual"), expected, rtol=1e-12)
    # public values of an ordinary variable are a plain column
    cf = scm.counterfactual({"smoker": private.public([1, 0]), "weight": [70.0, 71.0]}, do={"smoker": 0}, seed=0)
    assert cf.mean("weight").tolist() == [67.0, 71.0]


def test_the_release_must_be_of_the_same_mechanism() -> None:
    other = private.RandomizedResponse(epsilon=1.1, categories=[0, 1])
    with pytest.raises(EvidenceError, match="same mechanism"):
        pcm.SCM(survey).counterfactual({"reported": release(REPORTED, other), "weight": WEIGHT}, do={"smoker": 0})
    same = private.RandomizedResponse(epsilon=1.0, categories=(0, 1))
    cf = pcm.SCM(survey).counterfactual(
        {"reported": release(REPORTED, same), "weight": WEIGHT}, do={"smoker": 0}, seed=0
    )
    assert len(cf) == 4
    fitted = pcm.SCM(shares).fit({"smoker": release([1, 0, 1])}, seed=0, progress=False)
    with pytest.raises(EvidenceError, match="same mechanism"):
        fitted.counterfactual({"smoker": release([1], other)}, do={"smoker": 1})


def test_releases_that_fit_no_variable() -> None:
    scm = pcm.SCM(plain)
    with pytest.raises(UnknownNameError, match="smoker"):
        scm.counterfactual({"smokr": release(REPORTED), "weight": WEIGHT}, do={"smoker": 0})
    three = private.RandomizedResponse(epsilon=1.0, categories=["a", "b", "c"])
    with pytest.raises(EvidenceError, match="2 values"):
        scm.counterfactual({"smoker": release(["a"] * 4, three), "weight": WEIGHT}, do={"smoker": 0})
    two = private.RandomizedResponse(epsilon=1.0, categories=["no", "yes"])
    with pytest.raises(EvidenceError, match=r"Say which code is which: .*\['no', 'yes'\]"):
        scm.counterfactual({"smoker": release(["no"] * 4, two), "weight": WEIGHT}, do={"smoker": 0})
    with pytest.raises(EvidenceError, match="both"):
        scm.counterfactual(
            {"smoker": release([1]), "smoker_released": release([1]), "weight": [70.0]}, do={"smoker": 0}
        )

    def study(*, age) -> None:
        pyro.sample("y", dist.Normal(age, 1.0))

    with pytest.raises(EvidenceError, match="covariate"):
        pcm.SCM(study).counterfactual(
            {"age": release([1.0], private.Laplace(scale=1.0, bounds=(0, 2))), "y": [1.0]}, do={"y": 0.0}
        )


def test_sampling_gives_plain_noise() -> None:
    frame = pcm.SCM(survey).sample(20_000, seed=0)
    kept = (frame["reported"] == frame["smoker"]).mean()
    assert abs(kept - RR.keep) < 4 * math.sqrt(RR.keep * (1 - RR.keep) / 20_000)
