"""Evidence that a program cannot compute with: a value outside a table that it reads is named, whatever is asked."""

from __future__ import annotations

import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.errors import EvidenceError, InterventionError, ProgramError, SupportError

ENTRIES = [0.0, 1.0, 3.0, 4.0, 4.0, 4.0, 5.0, 5.0, 5.0]


def stays(n, *, ward):
    """The level of a stay by its ward, and its cost by the days: two tables."""
    slope = pyro.sample("slope", dist.Normal(1.0, 1.0))
    with pyro.plate("units", n):
        days = pyro.sample("days", dist.Poisson(1.0))
        pain = pyro.sample("pain", dist.Normal(torch.tensor(ENTRIES)[ward.long()], 1.0))
        pyro.sample("cost", dist.Normal(slope * torch.tensor(ENTRIES)[days.long()] + pain, 0.5))


ROWS = pd.DataFrame(
    {"ward": [0, 1, 2], "days": [0.0, 2.0, 1.0], "pain": [0.1, 0.2, 2.0], "cost": [0.0, 3.0, 4.0]}, index=list("abc")
)
LONG, ODD = ROWS.assign(days=[0.0, 12.0, 1.0]), ROWS.assign(ward=[0, 1, 10])
ASKED = {
    "counterfactual": lambda scm, rows: scm.given(slope=1.0).counterfactual(rows, do={"pain": 0.0}),
    "with holes": lambda scm, rows: scm.given(slope=1.0).counterfactual(rows.assign(pain=None), do={"pain": 0.0}),
    "an effect on these units": lambda scm, rows: pcm.ate(
        scm.given(slope=1.0), "pain", "cost", treated=1.0, control=0.0, data=rows
    ),
    "fit": lambda scm, rows: scm.fit(rows, method="map", progress=False),
    "fit with holes": lambda scm, rows: scm.fit(rows.assign(pain=[0.1, None, None]), method="map", progress=False),
    "log_prob": lambda scm, rows: scm.given(slope=1.0).log_prob(rows),
}


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize(
    ("rows", "column", "value", "row", "site"), [(LONG, "days", 12, "b", "cost"), (ODD, "ward", 10, "c", "pain")]
)
def test_column_value_and_row_are_named(ask, rows, column, value, row, site):
    with pytest.raises(EvidenceError) as caught:
        ASKED[ask](pcm.SCM(stays), rows)
    words = str(caught.value)
    assert f"on the way to '{site}' (IndexError: index {value} is out of" in words
    assert f"column '{column}', which it reads, has {value} in 1 of 3 units" in words
    assert "Mend the evidence" in words and words.endswith(f"Rows: {row}.")
    assert caught.value.column == column and caught.value.rows == [row]


def test_a_fitted_model_and_criticism_too():
    scm = pcm.SCM(stays)
    good = pd.concat([ROWS] * 12, ignore_index=True)
    rows = good.assign(days=[*good["days"][:-1], 12.0])
    fitted = scm.fit(good, method="laplace", seed=0, draws=8, progress=False)
    for ask in (lambda: fitted.counterfactual(rows, do={"pain": 0.0}), lambda: pcm.criticise(fitted, rows)):
        with pytest.raises(EvidenceError, match=r"column 'days', which it reads, has 12 in 1 of 36 units.*Rows: 35\."):
            ask()


def test_predictors_too():
    """A predictor pulls back what it is given."""

    def program():
        group = pyro.sample("group", dist.Bernoulli(0.5))
        days = pyro.sample("days", dist.Poisson(0.3 + 0.2 * group))
        pain = pyro.sample("pain", dist.Normal(torch.tensor(ENTRIES)[days.long()], 1.0))
        pyro.sample("cost", dist.Normal(pain + group, 0.5))

    scm = pcm.SCM(program)
    rows = scm.sample(200, seed=0)
    fair = pcm.Requirement("group", outcome="cost", admissible=["group -> days -> pain -> cost"])
    model = pcm.CausalRegressor(scm, "cost", requirements=[fair]).fit(rows)
    with pytest.raises(EvidenceError, match=r"'pain' .*column 'days', which it reads, has 11 in 1 of 3 units"):
        model.predict(rows.iloc[:3].assign(days=[0.0, 11.0, 1.0]))


def test_covariates_of_a_sample():
    scm = pcm.SCM(stays).given(slope=1.0)
    with pytest.raises(EvidenceError, match=r"'pain' .*column 'ward', which it reads, has 10 in 1 of 3 units"):
        scm.sample(data=ODD[["ward"]])


def test_what_is_drawn_is_the_programs_own_fault():
    """A covariate stands beside a draw that lies outside: nothing says which of them it was."""
    state = {"entries": 9}

    def program(*, ward):
        days = pyro.sample("days", dist.Poisson(1.0))
        pyro.sample("cost", dist.Normal(torch.zeros(state["entries"])[days.long()] + 0 * ward, 1.0))

    scm = pcm.SCM(program)
    state["entries"] = 1
    with pytest.raises(ProgramError, match=r"^The program fails on the way to 'cost' .IndexError"):
        scm.sample(data={"ward": [5.0] * 20}, seed=0)


def test_what_is_set_is_the_interventions_fault():
    """Evidence from a world in which the index was set."""

    def program():
        x = pyro.sample("x", dist.Poisson(0.2))
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("y", dist.Normal(torch.tensor([0.0] * 9)[x.long()] + z, 1.0))

    with pytest.raises(InterventionError, match=r"do\(x=9\)"):
        pcm.SCM(program).do(x=9).counterfactual({"y": [1.0], "z": [0.0]}, do={"z": 0.0}).mean("y")
    with pytest.raises(InterventionError, match=r"do\(x=9\)"):
        pcm.SCM(program).do(x=9).counterfactual({"y": [1.0]}, do={"z": 0.0}).mean("y")


def test_a_value_outside_its_support_is_the_better_culprit():
    def program():
        x = pyro.sample("x", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Normal(torch.tensor([0.0, 1.0])[x.long()], 1.0))

    rows = pd.DataFrame({"x": [0.0, 7.0], "y": [0.0, 1.0]}, index=["first", "second"])
    with pytest.raises(SupportError, match=r"'x'.*Bernoulli"):
        pcm.SCM(program).counterfactual(rows, do={"x": 1.0})


def test_a_place_computed_from_columns_names_them_and_what_they_hold():
    def program():
        a = pyro.sample("a", dist.Poisson(0.5))
        b = pyro.sample("b", dist.Poisson(0.5))
        pyro.sample("y", dist.Normal(torch.zeros(40)[(2 * a + b).long()], 1.0))

    with pytest.raises(EvidenceError, match=r"'y' .*reads 'a' \(1 to 30\), 'b' \(0 to 1\)"):
        pcm.SCM(program).counterfactual({"a": [1.0, 30.0], "b": [0.0, 1.0], "y": [0.0, 0.0]}, do={"b": 0.0})


def test_other_ways_to_read_a_table():
    """``gather`` and ``one_hot`` raise other errors than an index."""

    def gathered():
        x = pyro.sample("x", dist.Poisson(0.2))
        entries = torch.zeros(9).expand(*x.shape, 9)
        pyro.sample("y", dist.Normal(entries.gather(-1, x.long()[..., None])[..., 0], 1.0))

    def one_hot():
        x = pyro.sample("x", dist.Poisson(0.2))
        pyro.sample("y", dist.Normal(torch.nn.functional.one_hot(x.long(), 9).double() @ torch.ones(9), 1.0))

    for program, said in ((gathered, "column 'x', which it reads, has 9"), (one_hot, r"which reads 'x' \(1 to 9\)")):
        with pytest.raises(EvidenceError, match=rf"'y' .*{said}"):
            pcm.SCM(program).counterfactual({"x": [1.0, 9.0], "y": [0.0, 0.0]}, do={"x": 0.0})


def test_a_missing_index_that_may_lie_outside():
    def program():
        x = pyro.sample("x", dist.Poisson(0.2))
        pyro.sample("y", dist.Normal(torch.zeros(4)[x.long()], 1.0))

    with pytest.raises(EvidenceError, match=r"'y' .*'x' \(missing, and tried at values"):
        pcm.SCM(program).counterfactual({"x": [pcm.Interval(2.0, 9.0)], "y": [0.0]}, do={"y": 0.0})
