"""Bad options of models, samples, fits and parameters: an error of ours that names the culprit."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import (
    ArgumentError,
    CouplingError,
    DataError,
    EvidenceError,
    FitError,
    PCMError,
    ProgramError,
    QueryError,
    UnknownNameError,
)
from tests.unit.test_bad_input import LABELS, clinic, refused, regression


@pytest.fixture(scope="module")
def scm():
    return pcm.SCM(clinic, categories={"plan": LABELS})


@pytest.fixture(scope="module")
def frame(scm):
    return scm.sample(6, seed=0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"categories": {"plann": LABELS}}, UnknownNameError, "Did you mean 'plan'"),
        ({"categories": {"plan": LABELS[:2]}}, ProgramError, ["plan", "3"]),
        ({"categories": {"plan": ["a", "a", "b"]}}, PCMError, ["plan", "a"]),
        ({"categories": {"plan": [["a"], ["b"], ["c"]]}}, PCMError, "plan"),
        ({"categories": {"plan": ["a", None, "c"]}}, PCMError, "plan"),
        ({"categories": {"plan": 3}}, PCMError, "plan"),
        ({"categories": ["plan"]}, PCMError, "categories"),
        ({"categories": 3}, PCMError, "categories"),
        ({"categories": {"cost": ["low", "high"]}}, PCMError, "cost"),
        ({"couplings": {"plann": "monotone"}}, UnknownNameError, "Did you mean 'plan'"),
        ({"couplings": {"plan": "monoton"}}, CouplingError, ["plan", "monotone"]),
        ({"couplings": {"cost": "gumbel_max"}}, CouplingError, ["cost", "gumbel_max"]),
        ({"couplings": {"twice": "gumbel_max"}}, PCMError, "twice"),
        ({"couplings": {"plan": 3}}, CouplingError, "3"),
        ({"couplings": ["plan"]}, PCMError, "couplings"),
        ({"dtype": torch.float16}, ProgramError, "float16"),
        ({"dtype": "double"}, ProgramError, "double"),
    ],
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_options_of_a_model_are_refused(options, error, words):
    refused(error, words, lambda: pcm.SCM(clinic, **options))


@pytest.mark.parametrize("n", [0, -1, 2.5, True, "3", None, float("nan")])
def test_a_number_of_units_that_is_none(scm, n):
    refused(ArgumentError, "units" if n is None else repr(n), lambda: scm.sample(n))


@pytest.mark.parametrize(
    "seed", [1.5, "a", [1], float("nan")], ids=lambda value: getattr(value, "__name__", None) or str(value)
)
def test_a_seed_that_is_none(scm, frame, seed):
    for call in (
        lambda: scm.sample(3, seed=seed),
        lambda: scm.counterfactual(frame, do={"age": 1.0}, seed=seed),
        lambda: pcm.ate(scm, "treated", "cost", seed=seed, units=10),
        lambda: pcm.SCM(regression).fit({"x": [1.0, 2.0], "y": [1.0, 2.5]}, seed=seed, progress=False),
    ):
        refused(ArgumentError, "seed", call)


def test_covariates_are_asked_for():
    def program(n, *, age):
        with pyro.plate("units", n):
            pyro.sample("y", dist.Normal(age, 1.0))

    scm = pcm.SCM(program)
    refused(QueryError, ["age", "data="], lambda: scm.sample(5))
    refused(PCMError, "age", lambda: scm.sample(data={"agee": [1.0]}))
    refused(PCMError, "age", lambda: scm.sample(data={"age": [1.0, None]}))
    refused(ArgumentError, ["3", "2"], lambda: scm.sample(3, data={"age": [1.0, 2.0]}))
    refused(DataError, "int", lambda: scm.sample(data=3))
    refused(EvidenceError, "covariate", lambda: scm.counterfactual({"y": [1.0]}, do={"y": 1.0}))


REGRESSION = {"x": [0.5, -1.0, 2.0, 0.3], "y": [1.0, -1.0, 2.5, 0.1]}
FIT = {
    "nothing to fit": (
        lambda: pcm.SCM(clinic).fit(pcm.SCM(clinic).sample(5, seed=0)),
        FitError,
        ["clinic", "parameters"],
    ),
    "a misspelt method": (
        lambda: pcm.SCM(regression).fit(REGRESSION, "laplac"),
        UnknownNameError,
        "Did you mean 'laplace'",
    ),
    "no method": (lambda: pcm.SCM(regression).fit(REGRESSION, None), PCMError, "None"),
    "a strange option": (lambda: pcm.SCM(regression).fit(REGRESSION, chains=2), ArgumentError, "chains"),
    "no draws": (lambda: pcm.SCM(regression).fit(REGRESSION, draws=0), ArgumentError, "draws=0"),
    "draws of True": (lambda: pcm.SCM(regression).fit(REGRESSION, draws=True), ArgumentError, "draws=True"),
    "a missing column": (lambda: pcm.SCM(regression).fit({"x": [1.0]}), EvidenceError, "y"),
    "no rows": (lambda: pcm.SCM(regression).fit({"x": [], "y": []}), DataError, "rows"),
    "text": (lambda: pcm.SCM(regression).fit({"x": ["a"], "y": [1.0]}), DataError, "x"),
    "a perfect line": (
        lambda: pcm.SCM(regression).fit({"x": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0]}, progress=False),
        FitError,
        "scale",
    ),
    "values that overflow": (
        lambda: pcm.SCM(regression).fit({"x": [1.0, 2.0], "y": [1e200, 1.0]}, progress=False),
        FitError,
        "slope",
    ),
    "everything given": (
        lambda: pcm.SCM(regression).given(slope=1.0, scale=1.0).fit(REGRESSION),
        FitError,
        "parameters",
    ),
    "an edge in force": (
        lambda: pcm.SCM(regression).do({("x", "y"): 1.0}).fit(REGRESSION, progress=False),
        FitError,
        "edge",
    ),
}


@pytest.mark.parametrize("case", FIT)
def test_fits_are_refused(case):
    call, error, words = FIT[case]
    refused(error, words, call)


def test_a_constant_column_is_fitted_or_refused_with_the_parameter_named():
    constant = {"x": [0.0] * 20, "y": np.linspace(-1, 1, 20)}
    fitted = pcm.SCM(regression).fit(constant, progress=False, seed=0, draws=400)
    assert abs(float(fitted.posterior["slope"].std()) - 1) < 0.2  # the prior: the data say nothing of it
    flat = pcm.SCM(regression).fit({"x": np.linspace(-1, 1, 20), "y": [3.0] * 20}, progress=False, seed=0, draws=50)
    assert torch.isfinite(flat.posterior["scale"]).all()


GIVEN = {
    "a misspelt parameter": (lambda scm: scm.given(slop=1.0), UnknownNameError, "Did you mean 'slope'"),
    "a vector": (lambda scm: scm.given(slope=[1.0, 2.0]), ArgumentError, "slope"),
    "text": (lambda scm: scm.given(slope="steep"), ArgumentError, "steep"),
    "None": (lambda scm: scm.given(slope=None), ArgumentError, "slope"),
    "NaN": (lambda scm: scm.given(slope=float("nan")), ArgumentError, "slope"),
    "outside the support": (lambda scm: scm.given(scale=-1.0), ArgumentError, ["scale", "-1"]),
    "a number": (lambda scm: scm.given(5), ArgumentError, "5"),
    "a list": (lambda scm: scm.given([("slope", 1.0)]), ArgumentError, "slope"),
    "unfitted counterfactual": (
        lambda scm: scm.counterfactual(REGRESSION, do={"x": 1.0}),
        QueryError,
        ["slope", "fit"],
    ),
    "unfitted density": (lambda scm: scm.log_prob(REGRESSION), QueryError, ["slope", "fit"]),
    "half given": (lambda scm: scm.given(slope=1.0).log_prob(REGRESSION), QueryError, "scale"),
    "density of no draws": (
        lambda scm: scm.given(slope=1.0, scale=1.0).log_prob(REGRESSION, draws=0),
        ArgumentError,
        "draws=0",
    ),
    "density of half a draw": (
        lambda scm: scm.given(slope=1.0, scale=1.0).log_prob(REGRESSION, draws=2.5),
        ArgumentError,
        "draws=2.5",
    ),
}


@pytest.mark.parametrize("case", GIVEN)
def test_parameters_are_refused(case):
    call, error, words = GIVEN[case]
    refused(error, words, call, pcm.SCM(regression))
