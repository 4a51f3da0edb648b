"""NHEFS with protected attributes: the data are the book's, and effects are those of the regressions' algebra."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("causaldata")

from pcm_models import nhefs_prediction as model


def test_the_people_are_the_books() -> None:
    people = model.load()
    assert len(people) == 1_566
    for quit_, key in ((1, "those who quit"), (0, "the others")):
        change = people.loc[people["qsmk"] == quit_, "wt82_71"]
        mean, error, _ = model.truth[f"mean weight change of {key}, kg"]
        assert change.mean() == pytest.approx(mean, abs=1e-6) and change.sem() == pytest.approx(error, rel=0.01)


def test_what_is_pinned_is_the_paths_part_of_the_regression() -> None:
    """sex -> wt71 -> wt82_71: the product of two least-squares coefficients, beside what goes through quitting."""
    people = model.load()
    scm = model.fit(people)
    given = {name: value.numpy() for name, value in scm._model.given.items()}
    worlds = {f"{name} {level}": {name: float(level)} for name in ("race", "sex") for level in (0, 1)}
    cf = scm.counterfactual(people, worlds=worlds, draws=200, seed=1)
    quitting = {n: (cf.mean("qsmk", f"{n} 1") - cf.mean("qsmk", f"{n} 0")).mean() for n in ("race", "sex")}
    weights = given["to wt82_71"]
    expected = {name: weights[7] * quitting[name] for name in quitting}
    expected["sex"] += given["to wt71"][1] * weights[6]
    fair = model._faithful(people, seed=0).gaps()
    for name, effect in expected.items():
        assert fair.loc[name, "pinned"] == pytest.approx(effect, abs=0.12)
        assert abs(fair.loc[name, "gap"]) < 0.1


def test_the_table_compares_with_the_trivial() -> None:
    table = model.compare(model.load(), splits=3)
    risk = table["risk", "mean"]
    assert list(table.index)[:5] == ["faithful", "constant", "unaware", "demographic parity", "parents only"]
    assert risk["faithful"] < risk["constant"]
    assert table.loc["constant", ("effect of race", "mean")] == 0.0
    assert np.isnan(risk["pinned"])
    low, mean, high = (table.loc["unaware", ("effect of race", part)] for part in ("low", "mean", "high"))
    assert low <= mean <= high < -0.3  # through schooling, cigarettes and weight, though race is not read
