"""Training under requirements and interventional accuracy, on the reference fixture: every number is the algebra's.

X = .8A + E + u_X, Z = A + u_Z, Y = X + .6Z + .7A + .5E + u_Y, all noises standard normal.
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
from sklearn.linear_model import LinearRegression

import pcm
from pcm.errors import PCMError
from pcm_models.hospital_readmission import program

NAMES = ["A", "E", "X", "Z"]
COVARIANCE = np.array([[1.0, 0, 0.8, 1], [0, 1, 1, 0], [0.8, 1, 2.64, 0.8], [1, 0, 0.8, 2]])
BAYES = np.array([0.7, 0.5, 1.0, 0.6])  # risk 1


SCM = pcm.SCM(program)
FAIR = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
ROBUST = pcm.Requirement("E", outcome="Y", admissible=["E -> Y"])
RESPONSE = {"A": [1.0, 0.0, 0.8, 1.0], "E": [0.0, 1.0, 1.0, 0.0]}


@cache
def rows(seed: int = 1, count: int = 20_000) -> pd.DataFrame:
    return SCM.sample(count, seed=seed)


def programme(inputs: list[str], pinned: dict[str, float]) -> tuple[np.ndarray, float, np.ndarray]:
    """Least risk over linear predictors of these inputs with these effects: weights, risk, multipliers."""
    take = [NAMES.index(name) for name in inputs]
    gram, target = COVARIANCE[np.ix_(take, take)], COVARIANCE[take] @ BAYES
    change = np.array([np.array(RESPONSE[source])[take] for source in pinned])
    count = len(pinned)
    system = np.block([[2 * gram, change.T], [change, np.zeros((count, count))]])
    found = np.linalg.solve(system, np.concatenate([2 * target, list(pinned.values())]))
    weights, multipliers = found[: len(take)], found[len(take) :]
    full = BAYES @ COVARIANCE @ BAYES + 1
    return weights, float(full - 2 * weights @ target + weights @ gram @ weights), multipliers


def population_risk(weights: torch.Tensor, inputs: list[str]) -> float:
    take, full = [NAMES.index(name) for name in inputs], -BAYES.copy()
    full[take] += weights.detach().numpy().ravel()
    return float(full @ COVARIANCE @ full + 1)


def trained(violation: Any, inputs: list[str], *, penalty: float | None, rounds: int = 1) -> tuple[Any, Any]:
    torch.manual_seed(0)
    model = torch.nn.Linear(len(inputs), 1).double()
    x, y = violation.tensor(rows()), torch.from_numpy(rows()["Y"].to_numpy().copy())
    constraint = violation.lagrangian(rho=5.0) if penalty is None else None
    for _ in range(rounds):
        optimiser = torch.optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")

        def loss(optimiser: Any = optimiser) -> torch.Tensor:
            optimiser.zero_grad()
            term = constraint(model) if constraint is not None else penalty * violation(model)
            value = (model(x)[:, 0] - y).square().mean() + term
            value.backward()
            return value

        optimiser.step(loss)
        if constraint is not None:
            constraint.update(model)
    return model, constraint


@pytest.mark.parametrize(
    ("requirements", "inputs", "pinned", "risk"),
    [
        ([FAIR], ["A", "E", "X", "Z"], {"A": 0.8}, 2.69),
        ([FAIR, ROBUST], ["A", "X", "Z"], {"A": 0.8, "E": 0.5}, 3.94),
        ([pcm.Requirement("A", outcome="Y")], ["E", "X", "Z"], {"A": 0.0}, None),
    ],
)
def test_a_torch_model_reaches_the_programmes_price(
    requirements: list[Any], inputs: list[str], pinned: dict[str, float], risk: float | None
) -> None:
    weights, least, _ = programme(inputs, pinned)
    assert risk is None or least == pytest.approx(risk, abs=1e-9)
    violation = pcm.Violation(SCM, requirements, inputs=inputs, units=1_000)
    model, _ = trained(violation, inputs, penalty=1e3)
    assert population_risk(model.weight, inputs) == pytest.approx(least, rel=0.05)
    assert model.weight.detach().numpy()[0] == pytest.approx(weights, abs=0.05)
    assert violation.gaps(model)["gap"].abs().max() < 0.01


def test_as_a_constraint_its_multipliers_are_the_shadow_prices() -> None:
    inputs = ["A", "X", "Z"]
    _, least, multipliers = programme(inputs, {"A": 0.8, "E": 0.5})
    violation = pcm.Violation(SCM, [FAIR, ROBUST], inputs=inputs, units=1_000)
    model, constraint = trained(violation, inputs, penalty=None, rounds=12)
    assert violation.residuals(model).abs().max() < 1e-4
    assert population_risk(model.weight, inputs) == pytest.approx(least, rel=0.02)
    assert constraint.multipliers.numpy() == pytest.approx(multipliers, rel=0.05)


def product() -> None:
    """T = X (1 + A') with A' = 0 the reference. X + A u_X responds alike on average, and unit by unit it does not."""
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(x * (1 + a), 1.0))


def test_average_and_unit_differ_where_units_do() -> None:
    kept = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"], reference=0.0)
    settings: dict[str, Any] = {"inputs": ["A", "X"], "units": 4_000}
    average, unit = (pcm.Violation(pcm.SCM(product), [kept], kind=kind, **settings) for kind in ("average", "unit"))
    faithful = lambda x: x[:, 1]  # noqa: E731
    noisy = lambda x: x[:, 1] + x[:, 0] * (x[:, 1] - x[:, 0])  # noqa: E731  (A times X's own noise: 0 in the mean)
    assert average(faithful) < 1e-12 and unit(faithful) < 1e-12
    assert average(noisy) < 0.01
    assert unit(noisy) == pytest.approx(2.0, rel=0.1)  # E[(a' - a)² u²] = 2


def test_a_hidden_source_is_simulated() -> None:
    """Y's own mechanism without E cannot answer E; the part of each source is told apart."""
    violation = pcm.Violation(SCM, [FAIR, ROBUST], inputs=["X"], units=2_000)
    parts = violation.by_source(lambda x: x[:, 0])
    assert set(parts) == {"A", "E"}
    assert parts["A"] == pytest.approx(0.0, abs=1e-20)  # X carries .8 of A and no more
    step = 2 / np.sqrt(np.pi)  # mean distance of two draws of a standard normal
    assert parts["E"] == pytest.approx((0.5 * step) ** 2, rel=0.08)
    assert violation(lambda x: x[:, 0]) == pytest.approx(float(parts["E"]) / 2)


def test_the_violation_of_classes_is_on_the_probability_scale() -> None:
    def admission() -> None:
        a = pyro.sample("A", dist.Bernoulli(0.5))
        d = pyro.sample("D", dist.Normal(a, 1.0))
        pyro.sample("Y", dist.Bernoulli(logits=a + d))

    scm = pcm.SCM(admission, categories={"Y": ["no", "yes"]})
    violation = pcm.Violation(scm, [pcm.Requirement("A", outcome="Y")], inputs=["A", "D"])
    assert violation(lambda x: torch.sigmoid(x[:, 1] - x[:, 0])) < 1e-20
    assert violation(lambda x: 0.5 + 0.1 * x[:, 0]) == pytest.approx(0.01)
    both = lambda x: torch.stack([0.5 - 0.1 * x[:, 0], 0.5 + 0.1 * x[:, 0]], -1)  # noqa: E731
    assert violation(both) == pytest.approx(0.02)
    network = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1), torch.nn.Sigmoid())
    violation(network).backward()
    assert all(each.grad is not None for each in network[:1].parameters())


def test_least_squares_on_augmented_rows_is_faithful() -> None:
    """T = X + .6 (Z - A) + .5 E + ..., whatever carries the label; plain least squares has Bayes' weights."""
    made = pcm.augment(SCM, rows(), [FAIR], copies=3, seed=0)
    assert made.index.names == [None, "copy"] and len(made) == 4 * len(rows())
    found = LinearRegression().fit(made[NAMES], made["Y"]).coef_
    assert found == pytest.approx([-0.6, 0.5, 1.0, 0.6], abs=0.05)
    assert LinearRegression().fit(rows()[NAMES], rows()["Y"]).coef_ == pytest.approx(BAYES, abs=0.03)
    # the unit's own noise: each copy's target is X + .6 u_Z + .5 E + u_Y + 1.3 of its reference
    plain = rows()
    own = plain["Y"] - BAYES @ plain[NAMES].T
    first = made.xs(2, level="copy")
    left = first["Y"] - first["X"] - 0.6 * (first["Z"] - first["A"]) - 0.5 * first["E"] - own
    assert left.std() == pytest.approx(1.3, rel=0.02) and abs(np.corrcoef(left, first["A"])[0, 1]) < 0.03
    assert np.allclose(first["X"] - 0.8 * first["A"], plain["X"] - 0.8 * plain["A"])


# -- risks under interventions ---------------------------------------------------------------------------------------

SPREADS = {
    "1.64": {"X": dist.Normal(0.0, 1.64**0.5)},
    "9": {"X": dist.Normal(0.0, 3.0)},
    "100": {"X": dist.Normal(0.0, 10.0)},
}


def faithful(data: pd.DataFrame) -> pd.Series:
    return data["X"] + 0.6 * (data["Z"] - data["A"]) + 0.5 * data["E"]


def optimum(data: pd.DataFrame) -> pd.Series:
    """E[Y | E, X, u_Z]: X has the weight 1 + 1.3 · .8 / 1.64."""
    gain = 1.3 * 0.8 / 1.64
    return faithful(data) + gain * (data["X"] - data["E"])


def test_risks_under_do_are_the_algebras() -> None:
    """2.69 everywhere for the faithful one; the optimum 2.03, then 3.752, 6.711 and 43.306."""
    settings: dict[str, Any] = {"outcome": "Y", "units": 100_000}
    sure = pcm.interventional_risk(faithful, SCM, SPREADS, **settings)
    assert sure.to_dataframe()["risk"].to_numpy() == pytest.approx([2.69] * 4, rel=0.02)
    found = pcm.interventional_risk(optimum, SCM, SPREADS, **settings)
    table = found.to_dataframe()
    assert table["risk"].to_numpy() == pytest.approx([2.0305, 3.752, 6.711, 43.306], rel=0.02)
    assert found.argmax == "100" and found.risk == table["risk"].max()
    low, high = found.interval(0.99)
    assert low < 43.306 < high and high - low < 2.0
    assert "worst 43" in repr(found)


def test_bounded_shifts_have_a_closed_form() -> None:
    """Two shifts, in sd of X (√2.64) and of Z (√2): the largest risk is at the gradient's direction."""
    predict = lambda data: 1.5 * data["X"] + 0.2 * data["Z"]  # noqa: E731
    off = np.array([0.0 - 0.7, -0.5, 0.5, -0.4])
    plain = off @ COVARIANCE @ off + 1
    slopes = np.array([0.5 * 2.64**0.5, -0.4 * 2**0.5])  # of the error, a standard deviation of each
    found = pcm.interventional_risk(predict, SCM, pcm.Shifts(["X", "Z"], gamma=3.0), outcome="Y", units=100_000)
    assert found.observational == pytest.approx(plain, rel=0.02)
    assert found.risk == pytest.approx(plain + 9 * slopes @ slopes, rel=0.02)
    best = 3 * slopes / np.linalg.norm(slopes) * [2.64**0.5, 2**0.5]
    shift = np.array([float(part.split()[1]) for part in found.argmax.split(", ")])
    assert abs(shift) == pytest.approx(abs(best), rel=0.05) and np.prod(shift) < 0


def test_only_what_follows_the_mechanism_bears_every_shift() -> None:
    settings: dict[str, Any] = {"outcome": "Y", "units": 4_000}
    bayes = lambda data: data[NAMES] @ BAYES  # noqa: E731
    assert pcm.interventional_risk(bayes, SCM, "unbounded", **settings).risk == pytest.approx(1.0, abs=0.1)
    assert pcm.interventional_risk(faithful, SCM, pcm.Shifts(["X"]), **settings).risk == pytest.approx(2.69, rel=0.1)
    found = pcm.interventional_risk(optimum, SCM, pcm.Shifts(["X"]), **settings)
    assert np.isinf(found.risk) and found.interval() == (np.inf, np.inf)


def test_anchor_regression_is_the_minimax_of_its_shifts() -> None:
    """Its weights are those of least squares where E has γ times its variance (Rothenhäusler et al., theorem 1)."""
    gamma, inputs = 9.0, ["A", "X", "Z"]
    stretched = COVARIANCE + (gamma - 1) * np.outer(RESPONSE["E"], RESPONSE["E"])
    take = [NAMES.index(name) for name in inputs]
    expected = np.linalg.solve(stretched[np.ix_(take, take)], (stretched @ BAYES)[take])
    anchor = pcm.AnchorRegression("Y", anchors=["E"], gamma=gamma, inputs=inputs).fit(rows())
    assert anchor.coef_ == pytest.approx(expected, abs=0.02)
    plain = LinearRegression().fit(rows()[inputs], rows()["Y"])
    far = {"E": dist.Normal(0.0, gamma**0.5)}
    risks = [pcm.interventional_risk(each, SCM, far, outcome="Y") for each in (anchor, plain)]
    assert risks[0].risk < risks[1].risk and risks[0].observational > risks[1].observational


def test_baselines_stand_beside_the_predictor() -> None:
    model = LinearRegression().fit(rows()[["A", "X", "Z"]], rows()["Y"])
    family = pcm.Shifts(["E"], gamma=3.0)
    found = pcm.interventional_risk(model, SCM, family, outcome="Y", data=rows(), baselines=True).baselines
    assert list(found.index) == ["predictor", "parents only", "constant", "anchor regression"]
    assert found.loc["parents only", "worst"] == pytest.approx(1.0, abs=0.1)
    assert found.loc["anchor regression", "worst"] < found.loc["predictor", "worst"]
    assert found.loc["constant", "worst"] > 15


def test_a_fitted_models_ignorance_is_in_the_interval() -> None:
    def line(n: int) -> None:
        slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 1.0))

    data = pcm.SCM(line).given(slope=1.0).sample(40, seed=0)
    fitted = pcm.SCM(line).fit(data, seed=0, progress=False)
    predict = lambda each: 1.0 * each["x"]  # noqa: E731
    found = pcm.interventional_risk(predict, fitted, {"x": 4.0}, outcome="y", draws=64, units=64_000)
    b = fitted.posterior["slope"].numpy()
    risks = 1 + 16 * (b - 1) ** 2
    assert found.risk == pytest.approx(risks.mean(), rel=0.3)
    assert found.interval(0.9)[1] == pytest.approx(np.quantile(risks, 0.95), rel=0.35)


def test_log_loss_and_grids_of_classes() -> None:
    def admission() -> None:
        a = pyro.sample("A", dist.Bernoulli(0.5))
        pyro.sample("Y", dist.Bernoulli(logits=2.0 * a))

    scm = pcm.SCM(admission, categories={"A": ["f", "m"], "Y": ["no", "yes"]})
    half = lambda data: np.full(len(data), 0.5)  # noqa: E731
    found = pcm.interventional_risk(half, scm, pcm.Grid(A=["f", "m"]), outcome="Y")
    assert found.to_dataframe()["risk"].to_numpy() == pytest.approx([np.log(2)] * 3)
    data = scm.sample(5_000, seed=0)
    model = pcm.CausalClassifier(scm, "Y").fit(data)
    found = pcm.interventional_risk(model, scm, pcm.Grid(A=["f", "m"]), data=data, baselines=True, units=50_000)
    chance = 1 / (1 + np.exp(-2))
    entropy = -chance * np.log(chance) - (1 - chance) * np.log(1 - chance)
    assert found.to_dataframe()["risk"].to_numpy()[1:] == pytest.approx([np.log(2), entropy], abs=0.01)
    assert found.argmax == "do(A = f)"
    assert found.baselines.loc["parents only", "worst"] == pytest.approx(np.log(2), abs=0.01)


# -- twins -----------------------------------------------------------------------------------------------------------


def test_twins_are_told_the_same_under_uniform_invariance() -> None:
    people = rows()[:500]
    model = pcm.CausalRegressor(SCM, "Y", requirements=[pcm.Requirement("A", outcome="Y")]).fit(rows()[:4_000])
    found = pcm.twins(model, SCM, people, "A")
    assert found.settled and found.max < 1e-6
    kept = pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], family="mechanism").fit(rows()[:100])
    found = pcm.twins(kept, SCM, people, "A", levels=[0.0])
    expected = -0.8 * people["A"]  # along A -> X -> Y alone
    assert found.differences[0, 0] == pytest.approx(expected.to_numpy(), abs=1e-9)
    unaware = LinearRegression().fit(rows()[["E", "X", "Z"]], rows()["Y"])
    assert pcm.twins(unaware, SCM, people, "A", outcome="Y").max > 1.0


def test_twins_by_a_discrete_mediator_are_a_distribution() -> None:
    def ward() -> None:
        a = pyro.sample("A", dist.Bernoulli(0.5))
        m = pyro.sample("M", dist.Bernoulli(logits=2.0 * a - 1.0))
        pyro.sample("Y", dist.Normal(1.0 * m, 1.0))

    scm = pcm.SCM(ward, categories={"A": ["f", "m"]})
    people = scm.sample(2_000, seed=0)
    found = pcm.twins(lambda data: 1.0 * data["M"], scm, people, "A", outcome="Y", draws=64)
    assert not found.settled
    assert np.isnan(found.differences).mean() == pytest.approx(0.5)
    # monotone: M changes for those whose noise lies between the two chances
    share = 1 / (1 + np.exp(-1)) - 1 / (1 + np.exp(1))
    assert found.mean == pytest.approx(share, abs=0.03)
    assert set(np.unique(found.to_dataframe()["largest"])) == {0.0, 1.0}


def test_what_is_wrong_is_named() -> None:
    half = lambda data: data["X"]  # noqa: E731
    for call, words in [
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["W"]), "'W' is not a variable"),
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["Y"]), "is the outcome"),
        (lambda: pcm.Violation(SCM, FAIR, inputs=["X"]), "is a list"),
        (lambda: pcm.Violation(SCM, [], inputs=["X"]), "found an empty list"),
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["X"], kind="each"), "kind='each'"),
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["X"])(lambda x: x.sum()), "found"),
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["X"])(lambda x: x.expand(-1, 3)), "3 numbers a row"),
        (lambda: pcm.Violation(SCM, [FAIR], inputs=["X"], kind="unit").lagrangian(), "multipliers"),
        (lambda: pcm.augment(SCM, rows()[NAMES], [FAIR]), "with the outcome 'Y'"),
        (lambda: pcm.augment(SCM, rows()[:5], [FAIR], copies=0), "copies=0"),
        (lambda: pcm.interventional_risk(half, SCM, {"X": 0.0}), "does not say"),
        (lambda: pcm.interventional_risk(half, SCM, {"Y": 0.0}, outcome="Y"), "sets 'Y'"),
        (lambda: pcm.interventional_risk(half, SCM, [], outcome="Y"), "no intervention"),
        (lambda: pcm.interventional_risk(half, SCM, "all", outcome="Y"), "family='all'"),
        (lambda: pcm.interventional_risk(half, SCM, {"W": 0.0}, outcome="Y"), "'W' is not a variable"),
        (lambda: pcm.interventional_risk(half, SCM, {"X": 0.0}, outcome="Y", loss="log"), "finite outcome"),
        (lambda: pcm.interventional_risk(half, SCM, {"X": 0.0}, outcome="Y", inputs=["W"]), "reads 'W'"),
        (
            lambda: pcm.interventional_risk(torch.nn.Linear(1, 1), SCM, {"Z": 0.0}, outcome="Y", inputs=["X"]),
            r"a torch Linear, is called with a DataFrame .* lambda rows: module\(torch.tensor\(rows\[\['X'\]\]",
        ),
        (lambda: pcm.interventional_risk(half, SCM, {"X": 0.0}, outcome="Y", baselines=True), "data="),
        (lambda: pcm.Shifts(["X"], gamma=-1), "gamma=-1"),
        (lambda: pcm.twins(half, SCM, rows()[["X"]], "A", outcome="Y"), "'A' in every row"),
        (lambda: pcm.twins(half, SCM, rows()[:0], "A", outcome="Y"), "no rows"),
        (lambda: pcm.twins(3, SCM, rows()[:5], "A", outcome="Y"), "no predictor"),
    ]:
        with pytest.raises(PCMError, match=words):
            call()


def with_parameters(n: int) -> None:
    b = pyro.sample("b", dist.Normal(0.0, 2.0).expand([4]).to_event(1))
    with pyro.plate("units", n):
        a = pyro.sample("A", dist.Normal(0.0, 1.0))
        x = pyro.sample("X", dist.Normal(b[0] * a, 1.0))
        z = pyro.sample("Z", dist.Normal(b[1] * a, 1.0))
        pyro.sample("Y", dist.Normal(b[2] * x + b[3] * z, 1.0))


@cache
def uncertain() -> Any:
    """A model known from 40 rows: the weights' posterior sd is about .16."""
    return pcm.SCM(with_parameters).fit(rows(count=40), seed=0, progress=False)


def test_augmented_rows_carry_the_parameters_draws() -> None:
    """A moves X by its draw of b0 and the target by the same draw's b0 b2."""
    model, kept = uncertain(), pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"], reference=0.0)
    data = rows(2, 300).drop(columns="E")
    found = pcm.augment(model, data, [kept], copies=2, draws=50)
    assert np.allclose(found.xs(0, level="copy")[["A", "X", "Z"]], data[["A", "X", "Z"]])
    change = {name: found[name].unstack()[2] - found[name].unstack()[1] for name in ("A", "X", "Y")}
    drawn = np.stack([change["X"] / change["A"], change["Y"] / change["A"]], 1)
    b = model.posterior["b"].numpy()
    posterior = np.stack([b[:, 0], b[:, 0] * b[:, 2]], 1)
    nearest = np.abs(drawn[:, None] - posterior).max(-1)
    assert nearest.min(1).max() < 1e-8  # each row's pair is one draw's, both of its parts
    assert np.bincount(nearest.argmin(1))[np.unique(nearest.argmin(1))].tolist() == [6] * 50
    assert drawn.mean(0) == pytest.approx(posterior.mean(0), abs=0.1)
    assert drawn.std(0) == pytest.approx(posterior.std(0), rel=0.3)


@pytest.mark.parametrize("draws", [1, 32])
def test_a_violation_is_averaged_over_the_parameters_draws(draws: int) -> None:
    """X times w differs from the target by b0 (w - b2) a step: 0 for w = b2 under one draw, and not under many."""
    model, kept = uncertain(), pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
    b = model._model.parameters(draws, 0, prior=False)["b"].numpy()
    w = b[:, 2].mean()
    unit = pcm.Violation(model, [kept], inputs=["X"], units=4_000, kind="unit", draws=draws)
    expected = 2 * (b[:, 0] ** 2 * (w - b[:, 2]) ** 2).mean()  # E[step²] = 2
    assert unit(lambda x: w * x[:, 0]) == pytest.approx(expected, rel=0.2, abs=1e-12)
    found = unit.gaps(lambda x: w * x[:, 0]).loc["A"]
    assert found["pinned"] == pytest.approx((b[:, 0] * b[:, 2]).mean(), abs=0.01)
    assert found["effect"] == pytest.approx(w * b[:, 0].mean(), abs=0.01)


def test_gaps_are_averaged_over_the_parameters_draws() -> None:
    """Pinned is the mean of b0 b2, not the product of means; the faithful prediction of the same model meets it."""
    model, kept = uncertain(), pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
    b = model._model.parameters(16, 1, prior=False)["b"].numpy()
    settings: dict[str, Any] = {"family": "mechanism", "states": 64, "copies": 4}
    found = pcm.CausalRegressor(model, "Y", requirements=[kept], **settings).fit(rows(2, 300)).gaps().loc["A"]
    assert found["pinned"] == pytest.approx((b[:, 0] * b[:, 2]).mean(), abs=1e-6)
    assert abs(found["gap"]) < 0.1


def test_draws_are_asked_for_by_number() -> None:
    kept = pcm.Requirement("A", outcome="Y")
    for draws in (0, 2.5, True):
        with pytest.raises(PCMError, match="a positive whole number"):
            pcm.augment(uncertain(), rows(2, 10), [kept], draws=draws)  # pyright: ignore[reportArgumentType]
        with pytest.raises(PCMError, match="a positive whole number"):
            pcm.Violation(uncertain(), [kept], inputs=["X"], draws=draws)  # pyright: ignore[reportArgumentType]
    with pytest.raises(PCMError, match=r"units=2.5"):
        pcm.Violation(uncertain(), [kept], inputs=["X"], units=2.5)  # pyright: ignore[reportArgumentType]
