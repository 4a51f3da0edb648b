"""Law 8 for incomplete evidence: a unit's answers do not depend on what other units of the query lack."""

import contextlib

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm


def ward():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, -age], -1)))
    labs = pyro.sample("labs", dist.Normal(0.8 * age + 0.3 * plan, 0.5))
    visits = pyro.sample("visits", dist.Poisson(torch.exp(0.3 * labs)))
    pyro.sample("readmit", dist.Bernoulli(logits=1.2 * labs - 0.4 * (plan == 1) + 0.2 * visits))


def holes():
    rows = pcm.SCM(ward).sample(8, seed=3).astype(float)
    rows.index = [f"p{i}" for i in range(8)]
    for unit, names in enumerate(
        [(), ("plan",), ("age", "labs"), ("visits",), ("age",), ("plan", "visits"), ("age", "labs", "plan"), ("labs",)]
    ):
        rows.loc[f"p{unit}", list(names)] = np.nan
    return rows


QUESTIONS = {
    "mean": lambda cf: [cf.mean(name, "do") for name in ("age", "labs", "visits", "readmit")],
    "sd": lambda cf: [cf.sd(name, "do") for name in ("labs", "visits", "readmit")],
    "probability": lambda cf: [cf.probability("plan", 1, "do"), cf.probability("readmit", 1, "factual")],
    "interval": lambda cf: [cf.interval(name, 0.8, "do") for name in ("labs", "visits")],
    "means": lambda cf: [cf.means("readmit").sel(world="do").values],
}


@pytest.mark.parametrize("asked", QUESTIONS)
def test_a_unit_answers_alike_alone_and_among_others(asked):
    rows, scm = holes(), pcm.SCM(ward)
    together = QUESTIONS[asked](scm.counterfactual(rows, do={"labs": 1.0}, seed=5))
    for place, unit in enumerate(rows.index):
        alone = QUESTIONS[asked](scm.counterfactual(rows.loc[[unit]], do={"labs": 1.0}, seed=5))
        drawn = bool(rows.loc[unit, ["age", "labs"]].isna().any())
        for both, one in zip(together, alone, strict=True):
            assert both[place] == pytest.approx(one[0], abs=1e-8 if drawn else 1e-12), unit


def unit_effects(rows):
    """Effects unit by unit, of a frame of which some cells are empty."""
    scm = pcm.SCM(ward)
    asked = {"treated": 1, "control": 0, "data": rows, "seed": 5}
    yield "effect", pcm.ate(scm, "plan", "readmit", **asked)
    yield "both", pcm.probability_of_necessity_and_sufficiency(scm, "plan", "readmit", **asked)
    for name, of in (
        ("necessity", pcm.probability_of_necessity),
        ("sufficiency", pcm.probability_of_sufficiency),
    ):
        with contextlib.suppress(pcm.errors.QueryError):  # it concerns none of these units
            yield name, of(scm, "plan", "readmit", **asked)


def test_effects_of_a_unit_are_alike_alone_and_among_others():
    rows = holes()
    together = {name: effect.units for name, effect in unit_effects(rows)}
    compared = []
    for unit in rows.index:
        drawn = bool(rows.loc[unit, ["age", "labs"]].isna().any())
        for name, effect in unit_effects(rows.loc[[unit]]):
            every, alone = together[name], effect.units
            place = list(every.index).index(unit)
            assert every.mean[place] == pytest.approx(alone.mean[0], abs=1e-8 if drawn else 1e-12), (unit, name)
            assert every.interval()[place] == pytest.approx(alone.interval()[0], abs=1e-8), (unit, name)
            compared.append((name, drawn))
    assert {*compared} >= {("effect", False), ("effect", True), ("both", False), ("necessity", False)}


def test_units_that_are_summed_over_stay_exact_in_company():
    rows, scm = holes(), pcm.SCM(ward)
    found = scm.counterfactual(rows, do={"labs": 1.0}, seed=5)
    unit = rows.loc["p1"]  # its plan is unknown: three terms, by hand
    plans = torch.arange(3.0, dtype=torch.float64)
    age, labs, visits = (torch.tensor(unit[name]) for name in ("age", "labs", "visits"))
    log = torch.log_softmax(torch.stack([0 * age, age, -age]), 0)
    log = log + dist.Normal(0.8 * age + 0.3 * plans, 0.5 * torch.ones_like(plans)).log_prob(labs)
    log = log + dist.Bernoulli(logits=1.2 * labs - 0.4 * (plans == 1).double() + 0.2 * visits).log_prob(
        torch.tensor(unit["readmit"])
    )
    chances = log.softmax(0).numpy()
    for plan in range(3):
        assert found.probability("plan", plan, "factual")[1] == pytest.approx(chances[plan], abs=1e-12)


def test_a_table_averages_what_the_units_answer():
    found = pcm.SCM(ward).counterfactual(holes(), do={"labs": 1.0}, seed=5)
    for name in ("readmit", "visits", "labs"):
        assert found.table(name)["mean"]["do"] == pytest.approx(found.mean(name, "do").mean(), abs=1e-12)


def test_a_table_under_a_fit_has_intervals_where_cells_are_missing():
    def line(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            pyro.sample("y", dist.Normal(slope * x, 1.0))

    data = pcm.SCM(line).given(slope=1.0).sample(60, seed=0)
    fitted = pcm.SCM(line).fit(data, draws=400, seed=0, progress=False)
    found = fitted.counterfactual(data.mask(np.eye(60, 2) > 0), do={"x": 2.0}, draws=400, seed=0)
    row = found.table("y", prob=0.9).loc["do"]
    assert row["mean"] == pytest.approx(found.mean("y", "do").mean(), abs=1e-12)
    slopes = np.asarray(fitted.posterior["slope"]).ravel()
    x = np.nan_to_num(data["x"].mask(np.arange(60) == 0).to_numpy())
    width = 3.29 * slopes.std() * abs(2.0 - x.mean())  # y - slope x + 2 slope, averaged over units
    assert row["high"] - row["low"] == pytest.approx(width, rel=0.25)


def test_repeated_labels_keep_their_noise():
    rows, scm = holes(), pcm.SCM(ward)
    twice = pd.concat([rows, rows])
    found = scm.counterfactual(twice, do={"labs": 1.0}, seed=5).mean("visits")
    again = scm.counterfactual(rows, do={"labs": 1.0}, seed=5).mean("visits")
    assert found[:8] == pytest.approx(again, abs=1e-8)
