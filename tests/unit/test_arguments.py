"""Plain arguments of every kind of call: an error of ours with the argument, what was found and what is needed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.arguments import check_count, check_names, check_positive, check_probability, check_seed
from pcm.errors import ArgumentError, PCMError, UnknownNameError, suggestion

NO_COUNTS = [0, -1, 1.5, "3", None, True, 10**15]
NO_SEEDS = [-1, 1.5, "a", True, 2**70]
NO_PROBABILITIES = [0, 1, -1, 1.5, "a", None, True, np.nan, [0.9]]
NO_POSITIVES = [0, -1, np.inf, np.nan, "a", None, True]


def hospital():
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    x = pyro.sample("X", dist.Normal(0.8 * a, 1.0))
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(x + 0.6 * z + 0.7 * a, 1.0))


SCM = pcm.SCM(hospital)
ROWS = SCM.sample(80, seed=0)
FAIR = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
INPUTS = ["A", "X", "Z"]


@pytest.fixture(scope="module")
def model():
    return pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], states=2, copies=2).fit(ROWS)


@pytest.fixture(scope="module")
def penalty():
    return pcm.Violation(SCM, [FAIR], inputs=INPUTS, units=50)


def regressor(**options):
    return pcm.CausalRegressor(SCM, "Y", requirements=[FAIR], **options).fit(ROWS)


def test_plain_values_come_back_as_what_they_stand_for():
    assert [check_count(np.int64(3), "n"), check_seed(np.uint8(7)), check_seed(None, optional=True)] == [3, 7, 0]
    assert [check_probability(np.float32(0.5)), check_positive(np.float64(2.0), "rho")] == [0.5, 2.0]
    assert check_names({"a": 1}, "inputs", ["a", "b"]) == ("a",)


@pytest.mark.parametrize("value", NO_COUNTS)
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("units", lambda n, model: pcm.ate(SCM, "A", "Y", units=n)),
        ("draws", lambda n, model: SCM.counterfactual(ROWS, do={"A": 0.0}, draws=n)),
        ("n", lambda n, model: SCM.sample(n) if n is not None else check_count(n, "n")),
        ("count", lambda n, model: model.predict_distribution(ROWS).draws(n)),
        ("copies", lambda n, model: pcm.augment(SCM, ROWS, [FAIR], copies=n)),
        ("units", lambda n, model: pcm.Violation(SCM, [FAIR], inputs=INPUTS, units=n)),
        ("copies", lambda n, model: pcm.Violation(SCM, [FAIR], inputs=INPUTS, units=20, copies=n)),
        ("units", lambda n, model: pcm.interventional_risk(model, SCM, {"X": 1.0}, units=n)),
        ("draws", lambda n, model: pcm.twins(model, SCM, ROWS, "A", draws=n)),
        ("draws", lambda n, model: pcm.check(SCM, [FAIR], draws=n)),
        ("units", lambda n, model: pcm.check(SCM, [FAIR], units=n)),
        ("states", lambda n, model: regressor(states=n)),
    ],
)
def test_counts(name, call, value, model):
    with pytest.raises(ArgumentError, match=rf"^{name}=.*(positive whole number|GB)"):
        call(value, model)


@pytest.mark.parametrize("value", NO_SEEDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda s, model: SCM.sample(3, seed=s),
        lambda s, model: regressor(seed=s),
        lambda s, model: pcm.augment(SCM, ROWS, [FAIR], seed=s),
        lambda s, model: pcm.Violation(SCM, [FAIR], inputs=INPUTS, seed=s),
        lambda s, model: pcm.interventional_risk(model, SCM, {"X": 1.0}, seed=s),
        lambda s, model: pcm.twins(model, SCM, ROWS, "A", seed=s),
        lambda s, model: pcm.private.RandomizedResponse(1.0, [0, 1]).simulate([0], seed=s),
        lambda s, model: pcm.private.CrossTable({"X": [0, 1]}, epsilon=1.0).simulate(ROWS.round().clip(0, 1), seed=s),
    ],
)
def test_seeds(call, value, model):
    with pytest.raises(ArgumentError, match=r"^seed=.*2\*\*63"):
        call(value, model)


@pytest.mark.parametrize("value", NO_PROBABILITIES)
@pytest.mark.parametrize(
    "call",
    [
        lambda p, model: model.predict_distribution(ROWS).interval(p),
        lambda p, model: model.predict_distribution(ROWS).to_dataframe(p),
        lambda p, model: model.predict_distribution(ROWS).quantile(p if p != [0.9] else "0.9"),
        lambda p, model: pcm.ate(SCM, "A", "Y").interval(p),
        lambda p, model: SCM.counterfactual(ROWS.head(2), do={"A": 0.0}).plot("Y", prob=p),
        lambda p, model: pcm.interventional_risk(model, SCM, {"X": 1.0}, units=50).plot(p),
        lambda p, model: pcm.twins(model, SCM, ROWS, "A").quantile(p),
    ],
)
def test_probabilities(call, value, model):
    with pytest.raises(ArgumentError, match="is a number between 0 and 1; found"):
        call(value, model)


@pytest.mark.parametrize("value", NO_POSITIVES)
def test_positive_numbers(value, penalty):
    with pytest.raises(ArgumentError, match=r"^rho=.*positive, finite number"):
        penalty.lagrangian(value)


@pytest.mark.parametrize("names", ["X", 5, None, ["Q"], [5], [["X"]]])
@pytest.mark.parametrize(
    "call",
    [
        lambda names: regressor(hidden=names),
        lambda names: pcm.check(SCM, [FAIR], hidden=names),
        lambda names: pcm.Violation(SCM, [FAIR], inputs=names),
        lambda names: pcm.AnchorRegression("Y", anchors=names).fit(ROWS),
        lambda names: pcm.ParentsOnly(SCM, "Y", hidden=names).fit(ROWS),
        lambda names: pcm.ate(SCM, "A", "Y", latent=names if names != "X" else ["Q"]),
    ],
)
def test_lists_of_names(call, names):
    with pytest.raises(PCMError, match=r"a list of|is not a (variable|column)"):
        call(names)


@pytest.mark.parametrize("name", [["Y"], None, 5, "y"])
@pytest.mark.parametrize(
    "call",
    [
        lambda name: pcm.ate(SCM, "A", name),
        lambda name: pcm.ate(SCM, name, "Y"),
        lambda name: pcm.overlap(SCM, name, ROWS),
        lambda name: SCM.counterfactual(ROWS.head(2), do={"A": 0.0}).mean(name),
        lambda name: SCM.counterfactual(ROWS.head(2), do={"A": 0.0}).contrast(name, "do"),
        lambda name: SCM.counterfactual(ROWS.head(2), do={"A": 0.0}).is_binary(name),
        lambda name: SCM.counterfactual(ROWS.head(2), do={"A": 0.0}).labels(name),
        lambda name: pcm.twins(lambda rows: rows["X"], SCM, ROWS, name, outcome="Y"),
        lambda name: pcm.CausalRegressor(SCM, name or 5).fit(ROWS),
    ],
)
def test_names(call, name):
    with pytest.raises(UnknownNameError, match="variables: A, X, Z, Y"):
        call(name)


NO_MODELS = [
    (hospital, "found the function 'hospital'. Wrap the program: pcm.SCM(hospital)."),
    (pcm.SCM, "found the class SCM. One is made of a Pyro program: pcm.SCM(program)."),
    (None, "found None."),
    ("A", "found 'A'."),
    (SCM.graph, "found a CausalGraph. A graph has no equations; a Pyro program does: pcm.SCM(program)."),
    (pcm.CausalRegressor(SCM, "Y"), "found a CausalRegressor. It holds one: its attribute .scm."),
    (pcm.Violation(SCM, [FAIR], inputs=INPUTS, units=9), "found a Violation."),
]


@pytest.mark.parametrize(("other", "words"), NO_MODELS)
@pytest.mark.parametrize(
    "call",
    [
        lambda scm: pcm.ate(scm, "A", "Y"),
        lambda scm: pcm.overlap(scm, "A", ROWS),
        lambda scm: pcm.criticise(scm, ROWS),
        lambda scm: pcm.sensitivity(scm, "A", "Y"),
        lambda scm: pcm.probability_of_necessity(scm, "A", "Y"),
        lambda scm: pcm.CausalRegressor(scm or "A", "Y").fit(ROWS),  # without a model it is a plain regression
        lambda scm: pcm.CausalClassifier(scm or "A", "Y").fit(ROWS),
        lambda scm: pcm.ParentsOnly(scm, "Y").fit(ROWS),
        lambda scm: pcm.Violation(scm, [FAIR], inputs=INPUTS),
        lambda scm: pcm.violation(lambda rows: rows[..., 0], scm, [FAIR], inputs=INPUTS),
        lambda scm: pcm.augment(scm, ROWS, [FAIR]),
        lambda scm: pcm.twins(lambda rows: rows["X"], scm, ROWS, "A", outcome="Y"),
        lambda scm: pcm.interventional_risk(lambda rows: rows["X"], scm, {"A": 0.0}, outcome="Y"),
        lambda scm: pcm.private.claims(scm, {"X": "raw"}, private="A"),
        lambda scm: pcm.private.targeted(scm, private="A", candidates=["X"], utility="Y", epsilon=1.0),
        lambda scm: pcm.check(SCM, [FAIR]).risk_under(scm),
    ],
)
def test_models(call, other, words):
    with pytest.raises(ArgumentError) as caught:
        call(other)
    assert str(caught.value).startswith("a pcm.SCM is needed; found ")
    assert words in str(caught.value) or other is None


@pytest.mark.parametrize("other", [hospital, 5])
@pytest.mark.parametrize(
    "call",
    [lambda scm: pcm.check(scm, [FAIR]), lambda scm: pcm.identify(scm, "A", "Y"), lambda t: pcm.bounds(t, "PNS(A, Y)")],
)
def test_models_or_what_else_will_do(call, other):
    with pytest.raises(ArgumentError, match=r"a pcm.SCM.* or .* is needed; found (the function 'hospital'|a int)\."):
        call(other)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: pcm.bounds(SCM, "PNS", instrment="A"), "'instrment' is no option of bounds; options: graph"),
        (lambda: pcm.criticise(SCM, ROWS, levle=0.1), "Did you mean 'level'"),
        (lambda: pcm.overlap(SCM, "A", ROWS, treshold=0.1), "Did you mean 'threshold'"),
        (lambda: pcm.sensitivity(SCM, "A", "Y", bogus=1), "'bogus' is no option of sensitivity"),
        (lambda: pcm.identify(SCM.graph, "A", "Y", confounded=None), "confounded=None: a list of pairs"),
        (lambda: pcm.path_effect(SCM, "A", "Y", paths=[5]), "5 is not a path"),
        (lambda: pcm.check(SCM, [FAIR], simulate="yes"), "simulate='yes': True or False"),
        (lambda: SCM.counterfactual(ROWS, worlds={"": {"A": 0.0}}), "a world's name"),
        (lambda: pcm.Grid(5), "a grid is a list of values"),
        (lambda: pcm.Grid(x=5), "a grid is a list of values"),
        (lambda: pcm.Shifts(5), "a list of variables is needed"),
        (lambda: pcm.ate(SCM, "A", "Y").plot(reference="a"), "reference='a'"),
        (lambda: pcm.AugmentedLagrangian(5), "constrains a pcm.Violation"),
        (lambda: regressor(family="lightgbm"), "families: linear, gp, network, trees, mechanism"),
        (lambda: regressor(hidden=["Y"]), "hidden= names the outcome 'Y'"),
        (lambda: pcm.CausalRegressor(SCM, "A").fit(ROWS), "'A' has no cause in the graph"),
        (
            lambda: pcm.CausalRegressor(
                pcm.SCM(hospital), "X", requirements=[pcm.Requirement("A", outcome="X")], target="observational"
            ).fit(ROWS),
            "leave no input to observe",
        ),
    ],
)
def test_options(call, words):
    with pytest.raises(PCMError) as caught:
        call()
    assert words in str(caught.value), str(caught.value)


TWICE = pd.concat([ROWS, ROWS[["X"]]], axis=1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: regressor_of(ROWS.assign(Y="a")), "column 'Y' of the evidence holds text"),
        (lambda: regressor_of(ROWS[INPUTS], ROWS.to_numpy()), "y has the shape (80, 4) for the 80 rows"),
        (lambda: regressor_of(ROWS[INPUTS], 3.0), "y has the shape () for the 80 rows"),
        (lambda: regressor_of(ROWS[INPUTS], ROWS["Y"].head(5)), "y has 5 values for the 80 rows"),
        (lambda: pcm.CausalRegressor().fit(ROWS[INPUTS]), "requires y to be passed"),
        (lambda: anchors(ROWS.to_numpy()), "X is a DataFrame"),
        (lambda: anchors(ROWS.assign(X=np.inf)), "column 'X' of the data holds infinite numbers"),
        (lambda: anchors(ROWS.assign(X=np.nan)), "empty cells in 'X'"),
        (lambda: anchors(TWICE), "more than one column named 'X'"),
        (lambda: anchors(ROWS.head(2)), "2 rows do not fix 2 coefficients"),
        (lambda: twins(ROWS.assign(A=1.0)), "'A' has one value in these rows"),
        (lambda: twins(ROWS.head(1)), "'A' has one value in these rows"),
        (lambda: twins(ROWS.assign(A="x")), "column 'A' of the evidence holds text"),
        (lambda: twins(ROWS, levels=5), "levels=5: a list of values"),
        (lambda: twins(ROWS, source="Y"), "'Y' is what is predicted"),
        (lambda: twins(ROWS, inputs="X"), "inputs='X': a list of the columns"),
        (lambda: pcm.interventional_risk(first, SCM, {"X": 1.0}, outcome="Y", data="x"), "data= is a DataFrame"),
        (lambda: pcm.interventional_risk(first, SCM, {"X": 1.0}, outcome="Y", baselines=5), "baselines=5: True, or"),
        (lambda: pcm.ParentsOnly(SCM, "Y", estimator=5).fit(ROWS), "estimator=5 is no estimator"),
        (lambda: SCM.counterfactual(ROWS.assign(X=whole()), do={"A": 0.0}), "a whole column of intervals in each cell"),
    ],
)
def test_data(call, words):
    with pytest.raises(PCMError) as caught:
        call()
    assert words in str(caught.value), str(caught.value)


def regressor_of(rows, y=None):
    return pcm.CausalRegressor(SCM, "Y").fit(rows, y)


def anchors(rows):
    return pcm.AnchorRegression("Y", anchors=["A"]).fit(rows)


def first(rows):
    return rows["X"]


def twins(rows, source="A", **options):
    return pcm.twins(first, SCM, rows, source, outcome="Y", **options)


def whole():
    return pcm.Interval(ROWS["X"] - 1, ROWS["X"] + 1)


@pytest.mark.parametrize(
    ("predict", "words"),
    [
        (None, "None is no function of a tensor"),
        (torch.nn.Linear(5, 1).double(), "the model cannot read"),
        (lambda x: x[:, 0] * torch.nan, "not finite"),
        (lambda x: x[:, :2], "2 numbers a row"),
    ],
)
@pytest.mark.parametrize("asked", ["__call__", "gaps", "residuals"])
def test_models_that_a_penalty_cannot_follow(predict, words, asked, penalty):
    with pytest.raises(ArgumentError, match=words):
        getattr(penalty, asked)(predict)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: pcm.CausalRegressor(SCM, "Y").predict(ROWS),
        lambda: pcm.CausalRegressor(SCM, "Y").gaps(),
        lambda: pcm.AnchorRegression("Y").predict(ROWS),
        lambda: pcm.ParentsOnly(SCM, "Y").predict(ROWS),
    ],
)
def test_estimators_that_were_not_fitted(ask):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError, match="not fitted yet") as caught:
        ask()
    assert isinstance(caught.value, PCMError)


def test_suggestions_are_of_words_alone():
    assert [suggestion("1", [0, 1]), suggestion(9, [90, 91]), suggestion("ag", ["age"])] == [
        " Did you mean 1?",
        "",
        " Did you mean 'age'?",
    ]


def test_results_read_as_text(penalty):
    assert "AugmentedLagrangian of Violation of Y by A" in repr(penalty.lagrangian())
    assert "()" not in repr(pcm.check([SCM.graph, SCM.graph], [FAIR]))
    law = pcm.private.Laplace(1.0, bounds=(0, 1)).site(torch.tensor(0.5))
    assert "Laplace(scale=1.0" in repr(law)


def test_arrays_of_what_was_asked_for_alone():
    cf = SCM.counterfactual(ROWS.head(3), do={"A": 0.0}, outcome="Y")
    assert list(cf.to_xarray().data_vars) == ["Y"]
    assert list(cf.inference_data["observed_data"].data_vars) == ["Y"]
