"""Bad input: an error of ours that names the culprit, and nothing half done."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import (
    ArgumentError,
    DataError,
    EvidenceError,
    InterventionError,
    PCMError,
    QueryError,
    SupportError,
    UnknownNameError,
)

LABELS = ["none", "basic", "full"]
RAW = ("Traceback", "at::", "c10", "torch._C", "DoubleTensor")


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, -age], -1)))
    treated = pyro.sample("treated", dist.Bernoulli(logits=age))
    visits = pyro.sample("visits", dist.Poisson(torch.exp(0.3 * age)))
    cost = pyro.sample("cost", dist.Normal(torch.tensor([0.0, 1.0, 3.0])[plan] + age + visits, 1.0))
    wait = pyro.sample("wait", dist.Exponential(torch.exp(0.1 * age)))
    twice = pyro.deterministic("twice", 2 * cost)
    pyro.sample("labs", dist.Normal(torch.stack([twice, wait], -1), 1.0).to_event(1))
    pyro.sample("readmit", dist.Bernoulli(logits=cost - treated))


def regression(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    scale = pyro.sample("scale", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(slope * x, scale))


@pytest.fixture(scope="module")
def scm():
    return pcm.SCM(clinic, categories={"plan": LABELS})


@pytest.fixture(scope="module")
def frame(scm):
    return scm.sample(6, seed=0)


def refused(error, words, call, *args):
    with pytest.raises(error) as caught:
        call(*args)
    message = str(caught.value)
    assert isinstance(caught.value, PCMError)
    for word in [words] if isinstance(words, str) else words:
        assert word in message, message
    assert not any(raw in message for raw in RAW), message
    assert 15 < len(message) < 1200, message


# -- evidence ----------------------------------------------------------------------------------------------------------

EVIDENCE = {
    "no data": (lambda f: None, DataError, "NoneType"),
    "a list": (lambda f: [1, 2], DataError, "list"),
    "an array": (lambda f: f.to_numpy(), DataError, "ndarray"),
    "a path": (lambda f: "patients.csv", DataError, "str"),
    "a number": (lambda f: 5, DataError, "int"),
    "a Series": (lambda f: f["age"], DataError, "Series"),
    "empty frame": (lambda f: f.iloc[:0], DataError, "no rows"),
    "frame without columns": (lambda f: f[[]], PCMError, "age"),
    "empty dict": (lambda f: {}, DataError, "empty"),
    "a missing column": (lambda f: f.drop(columns="cost"), EvidenceError, "cost"),
    "two missing columns": (lambda f: f.drop(columns=["cost", "age"]), EvidenceError, ["cost", "age"]),
    "a misspelt column": (lambda f: f.rename(columns={"treated": "treatd"}), PCMError, ["treated", "treatd"]),
    "a misspelt short column": (lambda f: f.rename(columns={"age": "agee"}), PCMError, ["age", "agee"]),
    "a duplicated column": (lambda f: pd.concat([f, f[["cost"]]], axis=1), DataError, "cost"),
    "half a vector": (lambda f: f.drop(columns="labs[1]"), DataError, ["labs", "labs[1]"]),
    "a vector as a number": (lambda f: f.drop(columns=["labs[0]", "labs[1]"]).assign(labs=1.0), DataError, "labs"),
    "NaN": (lambda f: f.assign(cost=[1, 2, np.nan, 4, 5, 6]), EvidenceError, ["cost", "2"]),
    "None": (lambda f: f.assign(cost=[1, None, 3, 4, 5, 6]), EvidenceError, ["cost", "1"]),
    "NA": (lambda f: f.assign(visits=pd.array([1, pd.NA, 3, 4, 5, 6], dtype="Int64")), EvidenceError, ["visits", "1"]),
    "a missing label": (lambda f: f.assign(plan=pd.Categorical([None] * 6, categories=LABELS)), EvidenceError, "plan"),
    "NaN in a vector": (lambda f: f.assign(**{"labs[0]": np.nan}), EvidenceError, "labs"),
    "infinite": (lambda f: f.assign(cost=np.inf), DataError, ["cost", "infinite"]),
    "text": (lambda f: f.assign(cost="dear"), DataError, ["cost", "dear"]),
    "numbers as text": (lambda f: f.assign(cost="1.5"), DataError, ["cost", "to_numeric"]),
    "dates": (lambda f: f.assign(cost=pd.Timestamp("2020-01-01")), DataError, ["cost", "dates"]),
    "complex": (lambda f: f.assign(cost=1j), DataError, ["cost", "complex"]),
    "lists": (lambda f: f.assign(cost=[[1]] * 6), DataError, "cost"),
    "dicts": (lambda f: f.assign(cost=[{}] * 6), DataError, "cost"),
    "unequal lengths": (lambda f: {**{n: f[n].to_numpy() for n in f}, "cost": [1.0]}, DataError, "cost"),
    "a matrix for a number": (
        lambda f: {**{n: f[n].to_numpy() for n in f}, "cost": np.ones((6, 2))},
        DataError,
        "cost",
    ),
    "a label that is none": (lambda f: f.assign(plan="gold"), DataError, ["plan", "gold", "full"]),
    "a misspelt label": (lambda f: f.assign(plan="basci"), DataError, ["plan", "basci", "Did you mean 'basic'"]),
    "a code that is none": (lambda f: f.assign(plan=3), DataError, ["plan", "3"]),
    "a negative code": (lambda f: f.assign(plan=-2), DataError, ["plan", "-2"]),
    "half a code": (lambda f: f.assign(plan=0.5), DataError, "plan"),
    "a Bernoulli of 2": (lambda f: f.assign(treated=2), SupportError, ["treated", "2"]),
    "half a Bernoulli": (lambda f: f.assign(treated=0.5), SupportError, ["treated", "0.5"]),
    "a negative count": (lambda f: f.assign(visits=-1), SupportError, ["visits", "-1"]),
    "half a count": (lambda f: f.assign(visits=1.5), SupportError, ["visits", "1.5"]),
    "a negative time": (lambda f: f.assign(wait=-1.0), SupportError, ["wait", "-1"]),
    "one bad row": (lambda f: f.assign(wait=[1, 1, 1, 1, -2.0, 1]), SupportError, ["wait", "-2", "4"]),
    "a contradicted deterministic column": (lambda f: f.assign(twice=7.0), EvidenceError, ["twice", "7"]),
    "a value so large that a rate overflows": (lambda f: f.assign(age=1e308), PCMError, "visits"),
}


#: What partial evidence can answer: the cells are latent. A density needs every cell.
HOLES = {
    "a missing column",
    "two missing columns",
    "NaN",
    "None",
    "NA",
    "a missing label",
    "NaN in a vector",
}


@pytest.mark.parametrize("case", EVIDENCE)
def test_evidence_is_refused(scm, frame, case):
    change, error, words = EVIDENCE[case]
    data = change(frame)
    refused(error, words, lambda: scm.log_prob(data))
    if case not in HOLES:
        refused(error, words, lambda: scm.counterfactual(data, do={"age": 1.0}))


@pytest.mark.parametrize("case", sorted(HOLES))
def test_holes_are_answered_or_refused_by_name(scm, frame, case):
    change, _, words = EVIDENCE[case]
    data, culprit = change(frame).drop(columns="twice"), words if isinstance(words, str) else words[0]
    message = ""
    try:
        cf = scm.counterfactual(data, do={"plan": "full"}, draws=8, seed=0)
    except PCMError as error:
        message = str(error)
    if message:
        assert culprit in message
    else:
        assert np.isfinite(cf.mean("cost")).all() and np.isfinite(cf.mean("labs")).all()


def test_a_code_by_which_the_program_indexes_is_refused_by_name_without_labels_too(frame):
    bare = pcm.SCM(clinic)
    for code in (3, -1, 0.5):
        data = frame.assign(plan=code).drop(columns="twice")
        refused(PCMError, "plan", lambda data=data: bare.counterfactual(data, do={"age": 1.0}))


def test_rows_are_named_by_the_frames_own_labels(scm, frame):
    named = frame.set_axis(list("uvwxyz"), axis=0)
    refused(
        SupportError,
        ["wait", "y"],
        lambda: scm.counterfactual(named.assign(wait=[1, 1, 1, 1, -2.0, 1]), do={"age": 1.0}),
    )
    refused(EvidenceError, ["cost", "w"], lambda: scm.log_prob(named.assign(cost=[1, 2, np.nan, 4, 5, 6])))
    twice = named["twice"].copy()
    twice["x"] = 1000.0
    refused(
        EvidenceError,
        ["twice", "row x", "1000"],
        lambda: scm.counterfactual(named.assign(twice=twice), do={"age": 1.0}),
    )


def test_a_contradiction_in_a_vector_names_its_row():
    def program():
        v = pyro.sample("v", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.deterministic("w", 2 * v)

    scm = pcm.SCM(program)
    frame = scm.sample(5, seed=0).set_axis(list("abcde"), axis=0)
    frame.loc["d", "w[1]"] = 99.0
    refused(EvidenceError, ["w", "row d", "99"], lambda: scm.counterfactual(frame, do={"v": [0.0, 0.0, 0.0]}))


def test_one_row_is_enough(scm, frame):
    one = scm.counterfactual(frame.iloc[:1], do={"plan": "full"})
    whole = scm.counterfactual(frame, do={"plan": "full"})
    assert one.mean("cost").shape == (1,) and one.mean("cost")[0] == whole.mean("cost")[0]


def test_large_finite_values_stay_finite(scm, frame):
    cf = scm.counterfactual(frame.assign(cost=1e15, twice=2e15), do={"plan": "full"}, draws=4)
    assert np.isfinite(cf.mean("cost")).all() and np.isfinite(cf.mean("readmit")).all()


# -- interventions -----------------------------------------------------------------------------------------------------


def with_varargs(*values):
    return values[0]


def with_keywords(**values):
    return values["age"]


def positional_only(age, /):
    return age


DO = {
    "a misspelt variable": ({"agee": 1.0}, UnknownNameError, ["agee", "Did you mean 'age'"]),
    "no string": ({3: 1.0}, PCMError, "3"),
    "nothing set": ({}, InterventionError, "do"),
    "a list": (["age"], PCMError, "list"),
    "None": ({"age": None}, InterventionError, "age"),
    "text": ({"age": "old"}, InterventionError, ["age", "old"]),
    "a label that is none": ({"plan": "gold"}, InterventionError, ["plan", "gold"]),
    "a misspelt label": ({"plan": "basci"}, InterventionError, ["plan", "Did you mean 'basic'"]),
    "a list with a bad label": ({"plan": ["none", "gold", "none", "none", "none", "none"]}, InterventionError, "gold"),
    "NaN": ({"age": float("nan")}, InterventionError, "age"),
    "infinite": ({"age": float("inf")}, InterventionError, "age"),
    "NaN for one unit": ({"age": [0, 0, np.nan, 0, 0, 0]}, InterventionError, "age"),
    "complex": ({"age": 1j}, InterventionError, "age"),
    "an object": ({"age": object()}, InterventionError, "age"),
    "a set": ({"age": {1.0}}, InterventionError, "age"),
    "a dict": ({"age": {"value": 1.0}}, InterventionError, "age"),
    "a frame": ({"age": pd.DataFrame({"age": [1.0] * 6})}, InterventionError, "age"),
    "too few units": ({"age": [1.0, 2.0]}, InterventionError, ["age", "2", "6"]),
    "no units": ({"age": []}, InterventionError, "age"),
    "too many dims": ({"age": torch.zeros(6, 1)}, InterventionError, "age"),
    "a vector of another length": ({"labs": [1.0, 2.0, 3.0]}, InterventionError, "labs"),
    "vectors of another length": ({"labs": np.zeros((6, 3))}, InterventionError, "labs"),
    "a code that is none": ({"plan": 3}, InterventionError, ["plan", "3"]),
    "a negative code": ({"plan": -1}, InterventionError, ["plan", "-1"]),
    "half a code": ({"plan": 0.5}, InterventionError, ["plan", "0.5"]),
    "half a Bernoulli": ({"treated": 0.5}, InterventionError, ["treated", "0.5"]),
    "a Bernoulli of 2": ({"treated": 2}, InterventionError, ["treated", "2"]),
    "a negative count": ({"visits": -1}, InterventionError, ["visits", "-1"]),
    "half a count": ({"visits": 1.5}, InterventionError, ["visits", "1.5"]),
    "a negative time": ({"wait": -1.0}, InterventionError, ["wait", "-1"]),
    "one negative time": ({"wait": [1, 1, 1, -3.0, 1, 1]}, InterventionError, ["wait", "-3"]),
    "builtin": ({"age": max}, InterventionError, "max"),
    "varargs": ({"age": with_varargs}, InterventionError, "unnamed"),
    "keywords": ({"age": with_keywords}, InterventionError, "unnamed"),
    "positional only": ({"age": positional_only}, InterventionError, "unnamed"),
    "no arguments": ({"age": lambda: 1.0}, InterventionError, "argument"),
    "a policy of a stranger": ({"cost": lambda agee: agee}, UnknownNameError, ["agee", "Did you mean 'age'"]),
    "a policy of a descendant": ({"age": lambda cost: cost}, InterventionError, ["age", "cost"]),
    "a policy of what comes later": ({"plan": lambda treated: treated}, InterventionError, ["plan", "treated"]),
    "a network": ({"age": torch.nn.Linear(1, 1)}, InterventionError, "argument"),
    "a policy that fails": ({"cost": lambda age: 1 / 0}, InterventionError, ["cost", "division by zero"]),
    "a policy that branches": ({"cost": lambda age: 1.0 if age > 0 else 0.0}, InterventionError, "cost"),
    "a policy that gives text": ({"cost": lambda age: "high"}, InterventionError, "cost"),
    "a policy that gives a label": ({"plan": lambda age: "basic"}, InterventionError, "plan"),
    "a policy that gives nothing": ({"cost": lambda age: None}, InterventionError, "cost"),
    "a policy of another shape": ({"cost": lambda age: torch.zeros(2, 6)}, InterventionError, "cost"),
    "a policy of another length": ({"cost": lambda age: age[:3]}, InterventionError, "cost"),
    "a policy that is not finite": ({"cost": lambda age: age / 0}, PCMError, "cost"),
    "a policy outside the codes": ({"plan": lambda age: 7 + 0 * age}, PCMError, "plan"),
    "a policy below the codes": ({"plan": lambda age: -1 + 0 * age}, PCMError, "plan"),
    "a policy between codes": ({"plan": lambda age: 0.5 + 0 * age}, PCMError, "plan"),
    "a policy outside a Bernoulli": ({"treated": lambda age: 0.5 + 0 * age}, PCMError, "treated"),
    "a shift below zero": ({"visits": lambda visits: visits - 100}, PCMError, "visits"),
    "a time below zero": ({"wait": lambda wait: -wait}, PCMError, "wait"),
    "a batch of distributions": ({"age": dist.Normal(torch.zeros(6), 1.0)}, InterventionError, ["age", "6"]),
    "a vector distribution": ({"age": dist.Normal(torch.zeros(2), 1.0).to_event(1)}, InterventionError, "age"),
    "a normal Bernoulli": ({"treated": dist.Normal(0.0, 1.0)}, PCMError, "treated"),
    "a count for a Bernoulli": ({"treated": dist.Poisson(3.0)}, PCMError, "treated"),
    "four categories for three": ({"plan": dist.Categorical(torch.ones(4))}, PCMError, "plan"),
    "an edge that is not there": ({("plan", "treated"): 1}, InterventionError, "plan → treated"),
    "an edge backwards": ({("cost", "age"): 1.0}, InterventionError, "cost → age"),
    "an edge of a stranger": ({("agee", "cost"): 1.0}, UnknownNameError, "agee"),
    "an edge of three": ({("age", "cost", "labs"): 1.0}, InterventionError, "pair"),
    "an edge to what is set": ({("age", "cost"): 1.0, "cost": 2.0}, InterventionError, "cost"),
    "an edge outside the support": ({("plan", "cost"): 9}, InterventionError, ["plan", "9"]),
}
RUNS = {
    case
    for case in DO
    if "units" in case or case.startswith(("nothing", "a list")) or case == "vectors of another length"
}


@pytest.mark.parametrize("case", DO)
def test_interventions_are_refused(scm, frame, case):
    given, error, words = DO[case]
    refused(error, words, lambda: scm.counterfactual(frame, do=given).mean("readmit"))
    if case not in RUNS:
        refused(error, words, lambda: scm.do(given).sample(6, seed=0))


def test_parameters_are_not_variables():
    scm = pcm.SCM(regression)
    refused(InterventionError, ["slope", "given(slope="], lambda: scm.do(slope=1.0))
    refused(UnknownNameError, ["y", "slope"], lambda: scm.given(y=1.0))


WORLDS = {
    "neither": ({}, ArgumentError, "neither"),
    "both": ({"do": {"age": 1.0}, "worlds": {"a": {"age": 1.0}}}, ArgumentError, "both"),
    "no worlds": ({"worlds": {}}, ArgumentError, "empty"),
    "a list of worlds": ({"worlds": ["a"]}, ArgumentError, "list"),
    "a world of a list": ({"worlds": {"a": ["age"]}}, PCMError, "list"),
    "a world of nothing": ({"worlds": {"a": {}}}, InterventionError, "a"),
    "a world of None": ({"worlds": {"a": None}}, PCMError, "a"),
    "factual": ({"worlds": {"factual": {"age": 1.0}}}, ArgumentError, "factual"),
    "a world with a number for a name": ({"worlds": {1: {"age": 1.0}}}, ArgumentError, "1"),
    "no draws": ({"do": {"age": 1.0}, "draws": 0}, ArgumentError, "draws=0"),
    "negative draws": ({"do": {"age": 1.0}, "draws": -3}, ArgumentError, "draws=-3"),
    "half a draw": ({"do": {"age": 1.0}, "draws": 2.5}, ArgumentError, "draws=2.5"),
    "draws of True": ({"do": {"age": 1.0}, "draws": True}, ArgumentError, "draws=True"),
    "a float seed": ({"do": {"age": 1.0}, "seed": 1.5}, ArgumentError, "seed=1.5"),
    "a text seed": ({"do": {"age": 1.0}, "seed": "lucky"}, ArgumentError, "lucky"),
}


@pytest.mark.parametrize("case", WORLDS)
def test_counterfactual_arguments_are_refused(scm, frame, case):
    options, error, words = WORLDS[case]
    refused(error, words, lambda: scm.counterfactual(frame, **options))
    refused(error, words, lambda: scm.do(cost=1.0).counterfactual(frame.drop(columns=["cost", "twice"]), **options))


# -- results -----------------------------------------------------------------------------------------------------------

ASK = {
    "a stranger": (lambda cf: cf.mean("agee", "a"), UnknownNameError, ["agee", "Did you mean 'age'"]),
    "a stranger's draws": (lambda cf: cf.draws("costs", "a"), UnknownNameError, "costs"),
    "no name": (lambda cf: cf.mean(None, "a"), PCMError, "None"),
    "no world of two": (lambda cf: cf.mean("cost"), QueryError, "world="),
    "another world": (lambda cf: cf.mean("cost", "c"), UnknownNameError, "'c'"),
    "a world in place of prob": (lambda cf: cf.interval("cost", "a"), ArgumentError, "a"),
    "prob of 95": (lambda cf: cf.interval("cost", 95, "a"), ArgumentError, "95"),
    "prob of 1": (lambda cf: cf.interval("cost", 1.0, "a"), ArgumentError, "1.0"),
    "prob of True": (lambda cf: cf.interval("cost", True, "a"), ArgumentError, "True"),
    "prob of a table": (lambda cf: cf.to_dataframe(0), ArgumentError, "0"),
    "probability of a number": (lambda cf: cf.probability("cost", 1, "a"), QueryError, ["cost", "interval"]),
    "probability of a label that is none": (
        lambda cf: cf.probability("plan", "ful", "a"),
        QueryError,
        "Did you mean 'full'",
    ),
    "probability of a code that is none": (lambda cf: cf.probability("plan", 7, "a"), QueryError, ["plan", "7"]),
    "probability of half a Bernoulli": (lambda cf: cf.probability("treated", 0.5, "a"), QueryError, "0.5"),
    "probability of NaN": (lambda cf: cf.probability("treated", float("nan"), "a"), QueryError, "nan"),
    "probability of None": (lambda cf: cf.probability("treated", None, "a"), QueryError, "None"),
    "probability of two": (lambda cf: cf.probability("treated", [0, 1], "a"), QueryError, "[0, 1]"),
    "probability of text": (lambda cf: cf.probability("visits", "two", "a"), QueryError, ["visits", "two"]),
    "contrast with a stranger": (lambda cf: cf.contrast("cost", "a", "z"), UnknownNameError, "'z'"),
    "contrast of categories": (lambda cf: cf.contrast("plan", "a"), QueryError, "plan"),
    "picture of a stranger": (lambda cf: cf.plot("costt"), UnknownNameError, "Did you mean 'cost'"),
    "picture of nobody": (lambda cf: cf.plot("cost", units=[]), QueryError, "units=[]"),
    "picture of a strange unit": (lambda cf: cf.plot("cost", units=[99]), UnknownNameError, "99"),
    "picture with prob 3": (lambda cf: cf.plot("cost", prob=3), PCMError, "3"),
}


@pytest.mark.parametrize("case", ASK)
def test_questions_to_a_result_are_refused(scm, frame, case):
    ask, error, words = ASK[case]
    cf = scm.counterfactual(frame, worlds={"a": {"age": 1.0}, "b": {"plan": "full"}}, draws=4, seed=0)
    refused(error, words, ask, cf)


def test_a_mechanism_that_is_not_finite_names_its_variable_and_world():
    def program():
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        y = pyro.sample("y", dist.Normal(1 / x, 1.0))
        pyro.sample("z", dist.Normal(0.0, torch.exp(y)))

    scm = pcm.SCM(program)
    data = {"x": [1.0, 2.0], "y": [1.0, 0.5], "z": [0.0, 0.1]}
    refused(PCMError, ["y", "do"], lambda: scm.counterfactual(data, do={"x": 0.0}).mean("y"))
    refused(PCMError, ["z"], lambda: scm.counterfactual(data, do={"y": 1e4}).mean("z"))
    refused(PCMError, ["y"], lambda: scm.do(x=0.0).sample(3, seed=0))
    refused(PCMError, ["y"], lambda: scm.counterfactual({**data, "x": [0.0, 1.0]}, do={"x": 1.0}))


def test_nothing_is_printed_and_errors_are_of_the_builtin_kind(scm, frame, capsys):
    with pytest.raises(KeyError):
        scm.do(agee=1.0)
    with pytest.raises(ValueError, match="age"):
        scm.do(age="x")
    with pytest.raises(TypeError):
        pcm.SCM(3)
    assert capsys.readouterr() == ("", "")
