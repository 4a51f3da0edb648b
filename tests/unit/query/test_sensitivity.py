"""Sensitivity against the published Darfur numbers, numerical integration, and models whose confounder is known."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate, stats
from scipy.special import expit

import pcm
from pcm.errors import ArgumentError, EvidenceError, QueryError, UnknownNameError
from pcm.query.confounded_program import with_confounder
from pcm.query.confounder import OutcomeLaw, TreatmentLaw, bias, spread_ratio
from pcm.query.robustness import adjusted, benchmark_strength, robustness_value
from pcm.query.sensitivity import sensitivity

# -- Cinelli & Hazlett: the Darfur example --------------------------------------------------

DARFUR = (0.09731582, 0.02325654, 783)
FEMALE = {  # times as strong as being female: partial R² with treatment and outcome; estimate, error, t, lower, upper
    1: (0.00916428667504862, 0.12464092303637, 0.0752202698486415, 0.0218733298036818, 3.43890347394571, 0.03228296),
    2: (0.0183285733500972, 0.249324064199975, 0.0529151689180575, 0.0203500639944344, 2.60024582392121, 0.01296803),
    3: (0.0274928600251459, 0.374050471038094, 0.0303960178770157, 0.0186700665753491, 1.62806156873318, -0.00625329),
}


def test_robustness_values_of_the_darfur_example():
    assert robustness_value(*DARFUR) == pytest.approx(0.1387764, abs=5e-7)
    assert robustness_value(*DARFUR, alpha=0.05) == pytest.approx(0.07625797, abs=5e-7)
    f = DARFUR[0] / DARFUR[1] / math.sqrt(783)
    assert robustness_value(*DARFUR) == pytest.approx(0.5 * (math.sqrt(f**4 + 4 * f**2) - f**2), abs=1e-14)
    assert robustness_value(0.01, 0.02, 783, alpha=0.05) == 0.0


@pytest.mark.parametrize("times", FEMALE)
def test_benchmarks_of_the_darfur_example(times):
    with_treatment, with_outcome, estimate, se, t, low = FEMALE[times]
    # partial R² of being female itself, from the bounds published for a confounder once as strong
    first = FEMALE[1]
    own = first[0] / (1 + first[0])
    shared = own**2 / (1 - own) ** 2
    odds = first[1] / ((1 + math.sqrt(shared)) / math.sqrt(1 - shared)) ** 2
    found = benchmark_strength(own, odds / (1 + odds), times_treatment=times)
    assert found == pytest.approx((with_treatment, with_outcome), rel=1e-9)
    left = adjusted(*DARFUR, r2_treatment=with_treatment, r2_outcome=with_outcome)
    assert left == pytest.approx((estimate, se), rel=1e-8)
    assert left.estimate / left.se == pytest.approx(t, rel=1e-8)
    assert left.estimate - stats.t.ppf(0.975, 782) * left.se == pytest.approx(low, abs=1e-7)


def test_a_confounder_as_strong_as_the_robustness_value_changes_the_answer():
    value = robustness_value(*DARFUR)
    assert adjusted(*DARFUR, r2_treatment=value, r2_outcome=value).estimate == pytest.approx(0.0, abs=1e-12)
    value = robustness_value(*DARFUR, alpha=0.05)
    left = adjusted(*DARFUR, r2_treatment=value, r2_outcome=value)
    assert left.estimate / left.se == pytest.approx(stats.t.ppf(0.975, 782), rel=1e-9)
    half = robustness_value(*DARFUR, q=0.5)
    assert adjusted(*DARFUR, r2_treatment=half, r2_outcome=half).estimate == pytest.approx(DARFUR[0] / 2, rel=1e-9)


# -- a known confounder taken out of the observed law --------------------------------------------------


def _over(function):
    return integrate.quad(lambda u: function(u) * stats.norm.pdf(u), -9, 9, epsabs=1e-13, epsrel=1e-12)[0]


@pytest.mark.parametrize("a", [0.1, 0.8, 1.7, -1.2])
@pytest.mark.parametrize("link", ["identity", "logit", "log"])
def test_a_binary_treatment_against_integration(a, link):
    """The observed law is integrated from a model with a confounder; taking it out gives that model's effect."""
    b, offsets = 0.9, {0: (-0.4, 0.3), 1: (0.2, 1.1)}  # of the outcome in each arm, of two units
    inverse = {"identity": lambda v: v, "logit": expit, "log": np.exp}[link]
    logits = np.array([-1.0, 0.7])
    mean = np.array([_over(lambda u, e=e: expit(e + a * u)) for e in logits])
    arms, true = {}, {}
    for arm, values in offsets.items():
        given = [lambda u, e=e, arm=arm: expit(e + a * u) if arm else expit(-e - a * u) for e in logits]
        arms[arm] = np.array(
            [
                _over(lambda u, v=v, g=g: inverse(v + b * u) * g(u)) / _over(g)
                for v, g in zip(values, given, strict=True)
            ]
        )
        true[arm] = np.array([_over(lambda u, v=v: inverse(v + b * u)) for v in values])
    treatment = TreatmentLaw("logit", mean, mean * (1 - mean), 1.0, 0.0)
    outcome = OutcomeLaw(link, arms[1], arms[0], variance=4.0)
    found = (arms[1] - arms[0]).mean() - bias(treatment, outcome, a, np.array([b]))[0]
    assert found == pytest.approx((true[1] - true[0]).mean(), abs=1e-8)


@pytest.mark.parametrize("link", ["identity", "logit", "log"])
def test_a_normal_treatment_against_integration(link):
    a, b, spread, dose = 0.6, -0.8, 0.7, (1.5, -0.5)
    variance = spread**2 + a**2
    inverse = {"identity": lambda v: v, "logit": expit, "log": np.exp}[link]
    arms, true = [], []
    for value, offset in zip(dose, (0.5, -0.2), strict=True):
        density = lambda u, value=value: stats.norm.pdf(value, 0.3 + a * u, spread)  # noqa: E731
        seen = _over(lambda u, o=offset, d=density: inverse(o + b * u) * d(u)) / _over(density)
        arms.append(np.array([seen]))
        true.append(_over(lambda u, o=offset: inverse(o + b * u)))
    treatment = TreatmentLaw("mean", np.array([0.3]), np.array([variance]), *dose)
    found = (arms[0] - arms[1])[0] - bias(treatment, OutcomeLaw(link, *arms, 4.0), a, np.array([b]))[0]
    assert found == pytest.approx(true[0] - true[1], abs=1e-8)
    if link == "identity":
        exact = a * b / variance * (dose[0] - dose[1])
        assert bias(treatment, OutcomeLaw(link, *arms, 4.0), a, np.array([b]))[0] == pytest.approx(exact, abs=1e-12)


def test_the_bias_is_smooth_in_the_strength():
    """A solver that fails at one strength shows as a jump."""
    mean = np.linspace(0.02, 0.98, 25)
    treatment = TreatmentLaw("logit", mean, mean * (1 - mean), 1.0, 0.0)
    strengths = np.linspace(0, 3, 301)
    found = [bias(treatment, OutcomeLaw("identity", mean, mean, 9.0), a, np.array([1.0]))[0] for a in strengths]
    assert np.abs(np.diff(found, 3)).max() < 1e-5


def test_linear_strengths_agree_with_partial_r2():
    """Cinelli & Hazlett's bias and error, from R² = a²/σ_t² and b² (1 − R²)/σ_y²."""
    a, b, tt, yy, n = 0.5, 0.7, 1.3, 2.1, 10**7
    treatment = TreatmentLaw("mean", np.zeros(1), np.array([tt]), 1.0, 0.0)
    outcome = OutcomeLaw("identity", np.ones(1), np.zeros(1), yy)
    se = math.sqrt(yy / tt / n)
    left = adjusted(1.0, se, n, r2_treatment=a**2 / tt, r2_outcome=b**2 * (1 - a**2 / tt) / yy)
    assert 1 - bias(treatment, outcome, a, np.array([b]))[0] == pytest.approx(left.estimate, abs=1e-12)
    assert spread_ratio(treatment, outcome, a, np.array([b]))[0] == pytest.approx(left.se / se, rel=1e-6)


# -- programs --------------------------------------------------


def study():
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Normal(0.5 * z, 1.0))
    pyro.sample("y", dist.Normal(2.0 * t + z, 1.0))


def seen():
    """The law of ``study`` with a confounder of strengths .8 and .6, as a program that knows of none."""
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Normal(0.5 * z, math.sqrt(1.64)))
    slope = 0.8 * 0.6 / 1.64
    left = 1 + 0.6**2 * (1 - 0.8**2 / 1.64)
    pyro.sample("y", dist.Normal((2.0 + slope) * t + (1 - 0.5 * slope) * z, math.sqrt(left)))


def switch():
    z = pyro.sample("z", dist.Normal(0.0, 1.0))
    t = pyro.sample("t", dist.Bernoulli(logits=-z))
    pyro.sample("y", dist.Bernoulli(logits=1.5 * t - 0.5 * z))


def regression(n):
    slope = pyro.sample("slope", dist.Normal(torch.zeros(3), 100.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(20.0))
    with pyro.plate("units", n):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        t = pyro.sample("t", dist.Normal(0.6 * z, 1.0))
        pyro.sample("y", dist.Normal(slope[0] + slope[1] * t + slope[2] * z, spread))


def ask(program, *args, **options):
    return sensitivity(pcm.SCM(program)._model, *args, **options)


def test_the_confounder_of_a_program_is_taken_out_again():
    found = ask(seen, "t", "y", seed=0)
    assert found.effect.mean == pytest.approx(2 + 0.48 / 1.64, abs=1e-9)
    assert found.adjusted(0.8, 0.6) == pytest.approx(2.0, abs=1e-9)
    assert found.benchmarks.loc["z", "strength_outcome"] == pytest.approx(
        (1 - 0.24 / 1.64) * found.benchmarks.loc["z", "strength_treatment"] / 0.5, rel=1e-9
    )


def test_a_program_with_a_confounder_has_the_law_it_says():
    """Least squares on 200,000 units of it: the slope 2 + ab/(1 + a²), within five standard errors."""
    made = with_confounder(study, "t", "y", treatment_strength=0.8, outcome_strength=0.6, name="u")
    scm = pcm.SCM(made)
    assert set(scm.graph.edges) == {("z", "t"), ("z", "y"), ("t", "y"), ("u", "t"), ("u", "y")}
    data = scm.sample(200_000, seed=1)
    design = np.stack([np.ones(len(data)), data["t"], data["z"]], 1)
    slope = np.linalg.lstsq(design, data["y"].to_numpy(), rcond=None)[0][1]
    assert slope == pytest.approx(2 + 0.48 / 1.64, abs=5 * math.sqrt(1.22 / 1.64 / 200_000))
    assert float(pcm.ate(scm, "t", "y", seed=0)) == pytest.approx(2.0, abs=1e-9)


def test_a_confounder_within_plates_and_of_several_families():
    def program(n, *, age):
        rate = pyro.sample("rate", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            t = pyro.sample("t", dist.Bernoulli(logits=0.1 * age))
            pyro.sample("count", dist.Poisson((rate + t).exp()))
            pyro.sample("cost", dist.Gamma(2.0, torch.exp(-t)))

    data = {"age": np.zeros(100_000)}
    for outcome, factor in (("count", 1.0), ("cost", 2.0)):
        made = with_confounder(program, "t", outcome, treatment_strength=0.0, outcome_strength=0.5, name="u")
        scm = pcm.SCM(made).given(rate=0.0)
        assert scm.covariates == ("age",) and scm.parameters == ("rate",)
        drawn = scm.sample(data=data, seed=2)
        expected = factor * math.exp(0.125) * (1 + math.e) / 2
        assert drawn[outcome].mean() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("names", [("t", "t", "u"), ("t", "y", "y")])
def test_a_confounder_is_a_third_variable(names):
    treatment, outcome, name = names
    with pytest.raises(ArgumentError, match="three names"):
        with_confounder(study, treatment, outcome, treatment_strength=1.0, outcome_strength=1.0, name=name)


def test_the_robustness_value_of_a_law_without_sampling_error():
    found = ask(study, "t", "y", seed=0)
    f = 2.0  # slope times the residual deviations' ratio
    assert found.robustness_value == pytest.approx(0.5 * (math.sqrt(f**4 + 4 * f**2) - f**2), rel=1e-9)
    assert found.robustness_value_alpha is None and found.df is None and found.exact


def test_a_fit_gives_the_robustness_value_of_least_squares():
    data = pcm.SCM(study).sample(400, seed=5)
    fitted = pcm.SCM(regression).fit(data, draws=4000, seed=0, progress=False)
    found = sensitivity(fitted._model, "t", "y", data=data, draws=4000, seed=0)
    design = np.stack([np.ones(400), data["t"], data["z"]], 1)
    y = data["y"].to_numpy()
    slope, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = math.sqrt(((y - design @ slope) ** 2).sum() / 397 * np.linalg.inv(design.T @ design)[1, 1])
    assert found.df == 397
    assert found.robustness_value == pytest.approx(robustness_value(slope[1], error, 397), rel=0.02)
    alpha = robustness_value(slope[1], error, 397, alpha=0.05)
    assert found.robustness_value_alpha == pytest.approx(alpha, rel=0.03)
    assert "95 % interval touch that" in repr(found)
    # the strengths with that partial R² make the grid's interval touch 0 too
    spread = float(fitted.posterior["spread"].mean())
    a, b = math.sqrt(alpha), spread * math.sqrt(alpha / (1 - alpha))
    grid = sensitivity(fitted._model, "t", "y", data=data, effect=found.effect, strengths=([a], [b]), seed=0).grid
    assert float(grid["low"][0, 0]) == pytest.approx(0.0, abs=0.03 * slope[1])


def test_grid_and_frontier_in_closed_form():
    strengths = (np.array([0.0, 0.45, 0.9]), np.linspace(0.0, 2.0, 41))

    def program():
        t = pyro.sample("t", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(0.25 * t, 2.0))

    found = ask(program, "t", "y", strengths=strengths, seed=0)
    expected = 0.25 - np.outer(*strengths)
    grid = found.grid["effect"].to_numpy()
    np.testing.assert_allclose(grid, expected, atol=1e-9)
    np.testing.assert_allclose(found.frontier["effect"], [np.nan, 0.25 / 0.45, 0.25 / 0.9], atol=1e-9)
    assert found.to_dataframe().shape == (123, 5)
    assert dict(found.grid.sizes) == {"strength_treatment": 3, "strength_outcome": 41}
    assert not len(found.benchmarks)


def test_strengths_that_explain_more_than_there_is():
    found = ask(study, "t", "y", strengths=([0.5, 1.0], [0.5, 3.0]), seed=0)
    assert np.isfinite(found.grid["effect"].to_numpy()).tolist() == [[True, False], [False, False]]
    assert math.isnan(found.adjusted(1.2, 0.1))


def test_a_negative_effect_is_explained_away_by_a_confounder_of_opposite_signs():
    def program():
        t = pyro.sample("t", dist.Bernoulli(0.4))
        pyro.sample("y", dist.Normal(-0.6 * t, 1.0))

    found = ask(program, "t", "y", seed=0)
    assert (found.grid["strength_outcome"].to_numpy() <= 0).all()
    assert found.grid["effect"].to_numpy().max() > 0
    assert np.nanmax(found.frontier["effect"]) < 0


def test_a_binary_outcome_is_integrated():
    found = ask(switch, "t", "y", seed=0)
    assert not found.exact and "approximate" in repr(found)
    assert found.adjusted(0.0, 1.0) == pytest.approx(found.effect.mean, abs=1e-9)
    assert found.adjusted(1.0, 1.0) < found.effect.mean < found.adjusted(1.0, -1.0)
    assert found.benchmarks.loc["z", "strength_treatment"] == pytest.approx(
        2 * found.benchmarks.loc["z", "strength_outcome"], rel=1e-9
    )


def test_the_picture_shows_the_observed_causes():
    data = pcm.SCM(study).sample(120, seed=5)
    fitted = pcm.SCM(regression).fit(data, draws=200, seed=0, progress=False)
    figure = sensitivity(fitted._model, "t", "y", data=data, seed=0).plot()
    assert "z" in [text.get_text() for text in figure.axes[0].texts]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["effect 0", "interval touches 0"]


def through_a_mediator():
    t = pyro.sample("t", dist.Bernoulli(0.5))
    m = pyro.sample("m", dist.Normal(t, 1.0))
    pyro.sample("y", dist.Bernoulli(logits=m))
    pyro.sample("w", dist.Normal(m + t, 1.0))
    c = pyro.sample("c", dist.Categorical(torch.ones(3) / 3))
    pyro.sample("v", dist.Normal(1.0 * c, 1.0))
    pyro.sample("b", dist.Beta(1.0 + t, 1.0))


def test_a_mediator_leaves_a_linear_outcome_open():
    found = ask(through_a_mediator, "t", "w", seed=0)
    assert found.effect.mean == pytest.approx(2.0, abs=1e-9) and not found.exact


@pytest.mark.parametrize(
    ("program", "options", "error", "words"),
    [
        (through_a_mediator, {}, QueryError, "m lies between t and y"),
        (through_a_mediator, {"treatment": "c", "outcome": "v", "treated": 2}, QueryError, "'c' is Categorical"),
        (through_a_mediator, {"outcome": "b"}, QueryError, "outcome 'b' is Beta"),
        (study, {"treatment": "tt"}, UnknownNameError, "Did you mean 't'"),
        (study, {"alpha": 2.0}, ArgumentError, "probability"),
        (study, {"q": 0.0}, ArgumentError, "q=0.0"),
        (study, {"effect": 2.0}, ArgumentError, r"as pcm\.ate returns it"),
        (study, {"benchmarks": ["y"]}, ArgumentError, "'y' is no direct cause"),
        (study, {"benchmarks": ["q"]}, UnknownNameError, "'q'"),
        (study, {"strengths": 3}, ArgumentError, "pair of sequences"),
        (study, {"data": {"z": [0.0], "y": [1.0]}}, EvidenceError, "'t'"),
        (switch, {"treated": 1, "control": 1}, ArgumentError, "two values"),
    ],
)
def test_questions_that_cannot_be(program, options, error, words):
    options = {"treatment": "t", "outcome": "y", "seed": 0, **options}
    with pytest.raises(error, match=words):
        ask(program, options.pop("treatment"), options.pop("outcome"), **options)


# -- an effect knows its question ------------------------------------------------------------------------------------


def _trial(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        t = pyro.sample("t", dist.Bernoulli(logits=x))
        pyro.sample("y", dist.Normal(slope * t + x, 1.0))


@pytest.fixture(scope="module")
def tried():
    data = pcm.SCM(_trial).given(slope=1.5).sample(300, seed=0)
    return pcm.SCM(_trial).fit(data, seed=0, draws=200, progress=False), data


def test_an_effect_is_asked_as_its_model_would_be(tried):
    fitted, data = tried
    effect = pcm.ate(fitted, "t", "y", data=data, seed=0)
    found, longhand = pcm.sensitivity(effect), pcm.sensitivity(fitted, "t", "y", data=data, effect=effect, seed=0)
    assert (found.treatment, found.outcome, found.effect) == ("t", "y", effect)
    assert found.robustness_value == longhand.robustness_value
    assert found.grid.equals(longhand.grid)
    turned = pcm.ate(fitted, "t", "y", treated=0, control=1, data=data, seed=0)
    assert pcm.sensitivity(turned).adjusted(1.0, 1.0) == pytest.approx(-found.adjusted(1.0, 1.0), abs=1e-6)


def test_effects_that_cannot_be_asked_about(tried):
    fitted, data = tried
    effect = pcm.ate(fitted, "t", "y", data=data, seed=0)
    with pytest.raises(ArgumentError, match="needs a treatment and an outcome"):
        pcm.sensitivity(fitted, "t")
    with pytest.raises(ArgumentError, match=r"which pcm\.ate did not return"):
        pcm.sensitivity(pcm.att(fitted, "t", "y", data=data, seed=0))
    with pytest.raises(ArgumentError, match="treatment 'x'"):
        pcm.sensitivity(effect, "x", "y")
    with pytest.raises(ArgumentError, match="no treated="):
        pcm.sensitivity(effect, treated=2)
    with pytest.raises(ArgumentError, match="scale='ratio'"):
        pcm.sensitivity(pcm.ate(fitted, "t", "y", scale="ratio", data=data, seed=0))
    with pytest.raises(ArgumentError, match="'bogus' is no option"):
        pcm.sensitivity(effect, bogus=1)
