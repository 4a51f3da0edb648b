"""What whoever tries private noise for the first time gets wrong: refused by name, before anything is paid."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm import private
from pcm.errors import ArgumentError, DataError, EvidenceError, PCMError, SupportError, UnknownNameError

RR = private.RandomizedResponse(1.0, [0, 1])
LAPLACE = private.Laplace(1.0, bounds=(0, 10))


def survey(n):
    share, effect = pyro.sample("share", dist.Beta(1.0, 1.0)), pyro.sample("effect", dist.Normal(0.0, 5.0))
    with pyro.plate("units", n):
        smoker = pyro.sample("smoker", dist.Bernoulli(share))
        pyro.sample("weight", dist.Normal(70.0 + effect * smoker, 2.0))


def ward():
    hiv = pyro.sample("hiv", dist.Bernoulli(0.3))
    pyro.sample("drug", dist.Bernoulli(0.1 + 0.8 * hiv))


PEOPLE = pcm.SCM(survey).given(share=0.3, effect=3.0).sample(200, seed=2)
WARD = pcm.SCM(ward)


def ledger():
    return private.Ledger(epsilon=50.0, delta=1e-6)


def cells(frame=PEOPLE, categories=(0, 1)):
    return private.CrossTable({"smoker": list(categories)}, epsilon=1.0).release(frame, ledger(), name="cells")


def sums(frame, **options):
    return private.Moments({"weight": (50, 100)}, epsilon=1.0, **options).release(frame, ledger(), name="sums")


@pytest.mark.parametrize("delta", [-1e-9, 1, 2.0, np.nan, np.inf, "a", None, True, [0.1]])
def test_delta_of_a_ledger(delta):
    with pytest.raises(ArgumentError, match="delta="):
        ledger().epsilon_at(delta)


@pytest.mark.parametrize(
    "call",
    [
        lambda huge: private.RandomizedResponse(huge, [0, 1]),
        lambda huge: private.Laplace(huge, bounds=(0, 1)),
        lambda huge: private.Moments({"x": (0, 1)}, rho=huge),
        lambda huge: private.Ledger(epsilon=huge),
        lambda huge: ledger().book("x", epsilon=huge),
    ],
)
def test_a_number_too_large_for_a_float(call):
    with pytest.raises(ArgumentError, match="finite"):
        call(10**400)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: private.Laplace(epsilon=1), ArgumentError, "Laplace(…): missing a required argument: 'bounds'"),
        (lambda: private.Laplace(), ArgumentError, "Laplace(…): missing a required argument: 'bounds'"),
        (lambda: private.Laplace(epsilon=1, bound=(0, 1)), ArgumentError, "Did you mean 'bounds'?"),
        (lambda: private.Laplace(1.0, (0, 1)), ArgumentError, "Laplace(…): too many positional arguments"),
        (
            lambda: private.Gaussian(epsilon=1, bounds=(0, 1)),
            ArgumentError,
            "Gaussian(scale, *, rho, bounds, clip, clamp, public)",
        ),
        (
            lambda: private.RandomizedResponse([0, 1], epsilon=1.0),
            ArgumentError,
            "RandomizedResponse(epsilon, categories, *, public)",
        ),
        (lambda: private.PermuteAndFlip(1.0, [0, 1]), ArgumentError, "PermuteAndFlip(…): missing a required argument"),
        (lambda: private.CrossTable(epsilon=1.0), ArgumentError, "CrossTable(…): missing a required argument"),
        (lambda: LAPLACE.site("a"), ArgumentError, "a tensor or a number"),
        (lambda: RR.site(None), ArgumentError, "a tensor or a number"),
        (lambda: LAPLACE.site(torch.tensor([0.0, torch.nan])), SupportError, "NaN"),
        (lambda: LAPLACE.site(torch.tensor(1j)), SupportError, "complex"),
        (lambda: private.released(5, {"a": RR}), ArgumentError, "a program and a dict"),
        (lambda: private.released(ward, None), ArgumentError, "a program and a dict"),
        (lambda: private.Exponential(1.0, ["a", "b"], lambda one: 1), ArgumentError, "a function of (in, out)"),
        (lambda: private.CrossTable({"x": None}, epsilon=1.0), ArgumentError, "a list of labels"),
        (lambda: private.CrossTable({"x": [[0], [1]]}, epsilon=1.0), ArgumentError, "is no label"),
        (lambda: private.CrossTable({"x": PEOPLE["smoker"].unique()}, epsilon=1.0), ArgumentError, "computed from"),
        (lambda: private.Moments({"x": (0, 1)}, epsilon=1.0, order=True), ArgumentError, "order is 1 or 2"),
        (lambda: ledger().settle(99), UnknownNameError, "99 is not an entry of the ledger"),
        (lambda: ledger().debit("x", 5), ArgumentError, "no mechanism of pcm.private"),
        (lambda: ledger().debit("x", RR, rows=-1), ArgumentError, "rows=-1"),
        (lambda: cells(pd.concat([PEOPLE, PEOPLE], axis=1)), DataError, "more than one column named 'smoker'"),
        (lambda: sums(pd.concat([PEOPLE, PEOPLE], axis=1)), DataError, "more than one column named 'weight'"),
        (lambda: sums(PEOPLE.assign(weight=1j), clip=True), DataError, "no finite number"),
        (lambda: sums(PEOPLE).statistic.describe([1.0], 200), DataError, "2 sums are needed"),
        (lambda: sums(PEOPLE).statistic.describe([1.0, 2.0], 0), ArgumentError, "rows=0"),
        (lambda: private.claims(WARD, {"drug": RR}, private="hiv", graph=5), PCMError, "graph"),
        (lambda: private.claims(WARD, {"drug": RR}, private="hiv", seed="a"), ArgumentError, "seed='a'"),
        (
            lambda: private.claims(WARD, {"drug": RR}, private="hiv").graph_conditional.require("a"),
            ArgumentError,
            "epsilon='a'",
        ),
        (lambda: targeted(epsilons=5), ArgumentError, "epsilons=5: a list"),
        (lambda: targeted(mechanism=5), ArgumentError, "mechanism=5: a function"),
        (lambda: targeted().at("a"), ArgumentError, "epsilon='a'"),
    ],
)
def test_refused(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value), str(caught.value)


def targeted(**options):
    return private.targeted(WARD, private="hiv", candidates=["drug"], utility="drug", epsilon=1.0, **options)


def test_booleans_are_the_labels_0_and_1():
    assert len(cells(PEOPLE.assign(smoker=PEOPLE["smoker"].astype(bool)))) == len(PEOPLE)


def test_one_draw_of_noise_tells_once():
    one = cells()
    with pytest.raises(EvidenceError, match="'cells' is there twice"):
        pcm.SCM(survey).fit([one, one], progress=False)
    with pytest.raises(EvidenceError, match="noisy sums"):
        pcm.SCM(survey).fit([one, PEOPLE], progress=False)


def test_labels_that_the_program_does_not_know():
    labels = private.RandomizedResponse(1.0, ["yes", "no"])
    answers = labels.release(PEOPLE["smoker"].map({0: "no", 1: "yes"}), ledger(), name="smoker")
    with pytest.raises(EvidenceError, match=r"'smoker' has no labels.*categories={'smoker': \['yes', 'no'\]}"):
        pcm.SCM(survey).fit({"smoker": answers, "weight": PEOPLE["weight"]}, progress=False)


@pytest.mark.parametrize(
    ("source", "inputs", "options", "words"),
    [
        (lambda value: value, (0.0, 1.0), {}, "no callable (value, n)"),
        (lambda value, n: np.full(n, value), (0.0, np.nan), {}, "two different inputs"),
        (lambda value, n: np.full(n, value), (0.0, 1.0), {"n": 10**15}, "n=1000000000000000 would hold"),
        (lambda value, n: np.full(n, value), (0.0, 1.0), {"mu": "a"}, "mu='a'"),
    ],
)
def test_audited_mechanisms(source, inputs, options, words):
    with pytest.raises(ArgumentError) as caught:
        private.audit_mechanism(source, inputs, **{"claimed": 1.0, "n": 100, **options})
    assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("scores", "included", "words"),
    [
        (["a", "b"], [0, 1], "scores are numbers"),
        ([0.1, 0.2], [1, 1], "every coin fell the same way"),
        (pd.Series([0.1, 0.2]), pd.Series([0, 1], index=[1, 0]), "different indexes"),
    ],
)
def test_audits_of_one_run(scores, included, words):
    with pytest.raises(ArgumentError, match=words):
        private.audit_one_run(scores, included)


def test_membership_of_causal_predictors():
    from sklearn.linear_model import LinearRegression

    def chain():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        pyro.sample("c", dist.Normal(a, 1.0))

    scm = pcm.SCM(chain)
    members, others = scm.sample(60, seed=1), scm.sample(60, seed=2)
    causal = pcm.CausalRegressor(scm, "c", states=2, copies=2).fit(members)
    control = LinearRegression().fit(members[["a"]], members["c"])
    options = {"outcome": "c", "members": members, "nonmembers": others}
    assert set(private.membership(causal, control, **options).table["inputs"]) == {1}
    for changed, words in [
        ({"outcome": "q"}, "the outcome 'q'"),
        ({"shifted": 5}, "shifted="),
        ({"loss": "squared"}, "loss='squared'"),
        ({"members": members.assign(c="a")}, "no losses could be computed"),
        ({"nonmembers": others.assign(c=np.nan)}, "missing in some rows"),
    ]:
        with pytest.raises(PCMError) as caught:
            private.membership(causal, control, **{**options, **changed})
        assert words in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"module": 5}, "no torch module"),
        ({"module": torch.nn.Identity()}, "no torch module with weights"),
        ({"module": torch.nn.Linear(3, 1)}, "cannot be multiplied"),
        ({"inputs": torch.zeros(8, 2, dtype=torch.int32)}, "dtype"),
        ({"loss": torch.nn.functional.mse_loss}, "reduction='none'"),
        ({"loss": None}, "not callable"),
    ],
)
def test_nothing_is_paid_for_a_training_that_cannot_run(change, words):
    pytest.importorskip("opacus")
    own = ledger()
    given = {
        "module": torch.nn.Linear(2, 1),
        "inputs": torch.zeros(8, 2),
        "targets": torch.zeros(8, 1),
        "loss": lambda out, y: (out - y).square()[:, 0],
        **change,
    }
    module, inputs, targets = (given.pop(name) for name in ("module", "inputs", "targets"))
    with pytest.raises(ArgumentError, match=words):
        private.dp_sgd(module, inputs, targets, own, name="net", noise_multiplier=1.0, **given)
    assert len(own.statement()) == 0
