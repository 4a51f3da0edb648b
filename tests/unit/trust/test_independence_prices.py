"""What independence costs: analytic barycentres, Gaussian algebra, and a programme over a grid of predictions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.sparse
import torch
from scipy.optimize import linprog

import pcm
from pcm.errors import QueryError
from pcm.query.account import Account
from pcm.trust.apart import Apart

parity, odds = pcm.demographic_parity("a", outcome="y"), pcm.equalized_odds("a", outcome="y")


def groups(shift=2.0, spread=2.0, event=False):
    """x is N(0, 1) for three in four, and N(shift, spread²) in the other group."""

    def program():
        a = pyro.sample("a", dist.Bernoulli(0.25))
        x = pyro.sample("x", dist.Normal(shift * a, 1.0 + (spread - 1.0) * a))
        pyro.sample("y", dist.Bernoulli(logits=x) if event else dist.Normal(x, 1.0))

    return pcm.SCM(program)


def test_two_gaussian_groups_have_an_analytic_barycentre():
    """p q ((μ₁ − μ₀)² + (σ₁ − σ₀)²)."""
    found = pcm.check(groups(), [parity], seed=0)
    assert abs(found.price.mean - 0.1875 * (4 + 1)) < 4 * found.price.standard_error < 0.15
    assert found.price_minimum.mean == found.price.mean
    assert found.least_over == "every randomised prediction, by the barycentre of the groups"
    made = found.row("prediction ⊥ a, matched")
    assert abs(float(made.effects["a"])) < 0.05
    assert found.delivered == made.name
    assert float(made.risk) == pytest.approx(1 + float(found.price), abs=0.01)
    assert found.kinds == ("soft",)


def test_on_a_linear_law_a_root_in_two_groups_may_be_closed_or_simulated():
    closed = pcm.check(groups(spread=1.0), [parity])
    assert closed.how == "closed form"
    assert float(closed.price) == pytest.approx(0.1875 * 4, abs=1e-9)
    simulated = pcm.check(groups(spread=1.0), [parity], simulate=True, seed=1)
    assert "simulated as asked" in simulated.account.notes
    assert abs(simulated.price.mean - 0.75) < 4 * simulated.price.standard_error


def test_groups_that_are_alike_cost_nothing():
    found = pcm.check(groups(shift=0.0, spread=1.0, event=True), [parity], seed=0)
    assert found.kinds == ("free",)
    assert abs(found.price.mean) < 4 * found.price.standard_error + 1e-5


def test_atoms_are_split_by_ranks_that_are_drawn():
    """.1 and .7 of seven and three in ten, against .3 and .9 of three and seven: ¼ (.6 × .2² + .4 × .8²)."""

    def hiring():
        a = pyro.sample("a", dist.Bernoulli(0.5))
        x = pyro.sample("x", dist.Bernoulli(0.3 + 0.4 * a))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.6 * x + 0.2 * a))

    for asked in (parity, pcm.counterfactual_fairness("a", outcome="y")):
        row = pcm.check(pcm.SCM(hiring), [asked], units=8_000, seed=0).row("demographic parity in a")
        assert abs(row.price.mean - 0.07) < 4 * row.price.standard_error
        assert abs(row.effects["a"].mean) < 0.02
    assert float(pcm.check(pcm.SCM(hiring), [parity], units=500).price) == pytest.approx(0.07, abs=1e-9)


def test_path_requirements_print_the_price_of_parity_beside_theirs():
    found = pcm.check(groups(), [pcm.counterfactual_fairness("a", outcome="y")], seed=0)
    row = found.row("demographic parity in a")
    assert abs(row.price.mean - 0.9375) < 4 * row.price.standard_error


def test_gaussian_equalised_odds():
    """M = X + A, E[M | Y, A] = ½ Y + A: M − A is independent of A given Y, and E[M | M − A] = (3 / 2) (M − A)."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        x = pyro.sample("x", dist.Normal(a, 1.0))
        pyro.sample("y", dist.Normal(x + a, 1.0))

    found = pcm.check(pcm.SCM(program), [odds])
    assert float(found.price) == pytest.approx(5 - 3**2 / 2, abs=1e-9)
    assert found.least_over == "linear predictors"


class Admission:
    """a → x → y, a → y, w → y, finite, with random tables; the price of independence over a grid of predictions."""

    def __init__(self, seed, groups=2, classes=3):
        rng = np.random.default_rng(seed)
        self.a, self.x = rng.dirichlet(np.full(groups, 4.0)), rng.dirichlet(np.full(classes, 2.0), groups)
        self.y, self.sizes = rng.uniform(0.05, 0.95, (groups, classes, 2)), (groups, classes, 2)
        a, x, y = (torch.as_tensor(each) for each in (self.a, self.x, self.y))

        def program():
            group = pyro.sample("a", dist.Categorical(a))
            w = pyro.sample("w", dist.Bernoulli(0.5))
            seen = pyro.sample("x", dist.Categorical(x[group]))
            pyro.sample("y", dist.Bernoulli(y[group, seen, w.long()]))

        self.scm = pcm.SCM(program)

    def price(self, inputs, asked, loss, grid):
        cells = list(product(*map(range, self.sizes)))
        chance = np.array([self.a[a] * self.x[a, x] / 2 for a, x, _ in cells])
        y = np.array([self.y[cell] for cell in cells])
        seen = [tuple(cell["axw".index(name)] for name in inputs) for cell in cells]
        place = np.array([sorted(set(seen)).index(each) for each in seen])
        weight = np.bincount(place, chance)
        best, levels = np.bincount(place, chance * y) / weight, np.linspace(0.002, 0.998, grid)
        if loss == "squared":
            cost = weight[:, None] * (best[:, None] - levels) ** 2
        else:
            at = best[:, None]
            cost = weight[:, None] * (at * np.log(at / levels) + (1 - at) * np.log((1 - at) / (1 - levels)))
        rows = []
        for given in asked:
            for within in (y, 1 - y) if given == odds else (np.ones(len(y)),):
                laws = [
                    np.bincount(place, chance * within * (np.array(cells)[:, 0] == a)) for a in range(self.sizes[0])
                ]
                rows += [law / law.sum() - laws[0] / laws[0].sum() for law in laws[1:]]
        whole = scipy.sparse.kron(np.eye(len(weight)), np.ones((1, grid)))
        apart = scipy.sparse.kron(np.array(rows), np.eye(grid))
        right = np.concatenate([np.ones(len(weight)), np.zeros(apart.shape[0])])
        done = linprog(cost.ravel(), A_eq=scipy.sparse.vstack([whole, apart]), b_eq=right, method="highs")
        return done.fun


@pytest.mark.parametrize("inputs", ["axw", "xw"])
@pytest.mark.parametrize("asked", [[parity], [odds]], ids=["parity", "odds"])
@pytest.mark.parametrize(("seed", "loss"), [(0, "squared"), (1, "squared"), (0, "log")])
def test_finite_programs_are_exact(seed, asked, inputs, loss):
    """A grid costs more, by no more than its cells: a quarter of their width squared (times the curvature)."""
    case = Admission(seed)
    found = pcm.check(case.scm, asked, inputs=list(inputs), loss=loss, units=500, seed=0)
    assert found.price.standard_error == 0
    assert "by enumeration" in found.least_over
    coarse = case.price(inputs, asked, loss, 201)
    curved = 1.0 if loss == "squared" else 1 / 0.05
    assert -1e-7 < coarse - float(found.price) < curved * 0.25 * 0.005**2 + 1e-6


def test_three_groups_and_both_requirements_at_once():
    case = Admission(2, groups=3, classes=2)
    found = pcm.check(case.scm, [parity], units=500, seed=0)
    assert 0 <= case.price("axw", [parity], "squared", 201) - float(found.price) < 1e-5
    case = Admission(3)
    assert not pcm.check(case.scm, [parity, odds], units=500, seed=0).feasible


def test_derived_predictors_reach_what_the_table_does():
    """Two scores in each of two groups: their classes are the cells."""
    case = Admission(0, classes=2)
    scm, inputs = case.scm, ("a", "x", "w")
    for asked, loss in (([odds], "squared"), ([parity], "log")):
        exact = pcm.check(scm, asked, inputs=list(inputs), loss=loss, units=500, seed=0).price.mean
        made = Apart(scm, scm.graph, asked, "y", inputs, loss, 20_000, 0, Account(rung=3))
        (price, error), over, _ = made._derived()
        assert "derived from 16 classes" in over
        assert abs(price - exact) < 4 * error


def test_classes_of_the_score_come_near_the_barycentre():
    scm = groups(event=True)
    made = Apart(scm, scm.graph, [parity], "y", ("a", "x"), "squared", 20_000, 0, Account(rung=3))
    (exact, error), ((derived, _), *_) = made.barycentre("a").price, made._derived()
    assert abs(derived - exact) < 0.01 * exact + 0.2 * error


def test_odds_of_an_event_cost_less_than_parity_only_where_groups_differ():
    """x tells all of y, in either group: its score has equal odds as it is."""
    found = pcm.check(groups(event=True, shift=0.0, spread=1.0), [odds], units=4_000, seed=0)
    assert abs(found.price.mean) < 4 * found.price.standard_error
    apart = pcm.check(groups(event=True), [odds], units=4_000, seed=0)
    assert apart.price.mean > 4 * apart.price.standard_error
    assert float(apart.price) < float(apart.row("constant").price)


def test_parameters_are_carried():
    def program(n):
        shift = pyro.sample("shift", dist.Normal(2.0, 0.3))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Bernoulli(0.5))
            x = pyro.sample("x", dist.Normal(shift * a, 1.0 + a))
            pyro.sample("y", dist.Normal(x, 1.0))

    found = pcm.check(pcm.SCM(program), [parity], units=8_000, draws=4, seed=0)
    assert len(found.price.draws) == 4
    assert found.price.sd > 0
    assert abs(found.price.mean - 0.25 * (4 + 1)) < 1


def test_a_source_that_do_holds_still_costs_nothing():
    for asked in (parity, odds):
        found = pcm.check(groups(event=True).do(a=1), [asked], units=1_000, seed=0)
        assert float(found.price) == pytest.approx(0.0, abs=1e-9)


def test_a_group_that_the_program_computes():
    def program():
        z = pyro.sample("z", dist.Categorical(torch.tensor([0.3, 0.3, 0.4])))
        a = pyro.deterministic("a", (z > 1) * 1.0)
        x = pyro.sample("x", dist.Bernoulli(0.3 + 0.4 * a))
        pyro.sample("y", dist.Bernoulli(0.1 + 0.6 * x + 0.2 * a))

    read = pcm.check(pcm.SCM(program), [parity], units=500, seed=0)
    told = pcm.check(pcm.SCM(program), [parity], inputs=["x", "z"], units=500, seed=0)  # z tells a
    assert float(read.price) == pytest.approx(0.24 * (0.6 * 0.2**2 + 0.4 * 0.8**2), abs=1e-9)
    assert float(told.price) == pytest.approx(float(read.price), abs=1e-9)


def test_groups_of_few_units_are_refused():
    for asked in (parity, odds):
        with pytest.raises(QueryError, match=r"a = 1 in \d+ of 100 simulated units.*units="):
            pcm.check(groups(event=True), [asked], units=100, seed=0)
    rare = pcm.check(groups(), [pcm.counterfactual_fairness("a", outcome="y")], units=100, seed=0)
    assert not any("parity" in row.name for row in rare.rows)


def continuous():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    x = pyro.sample("x", dist.Normal(a**2, 1.0))
    pyro.sample("y", dist.Normal(x, 1.0))


def laplace():
    a = pyro.sample("a", dist.Laplace(0.0, 1.0))
    x, z = pyro.sample("x", dist.Normal(a, 1.0)), pyro.sample("z", dist.Normal(a, 1.0))
    pyro.sample("y", dist.Normal(x + z, 1.0))


@pytest.mark.parametrize(
    ("scm", "asked", "options", "words"),
    [
        (pcm.SCM(continuous), [parity], {}, "'a' is not finite"),
        (groups(), [odds], {}, "'y' is not finite"),
        (groups(), [parity], {"inputs": ["x"]}, "the predictor does not read 'a'"),
        (groups(), [pcm.demographic_parity("a", outcome="y", tolerance=0.1)], {}, "a tolerance bounds a covariance"),
        (groups(), [parity, pcm.counterfactual_fairness("a", outcome="y")], {}, "beside requirements on paths"),
        (pcm.SCM(laplace), [odds], {}, "'a' is not finite"),
        (groups(event=True), [odds], {"inputs": ["a"]}, "the predictor does not read x"),
        (groups(), [parity], {"loss": "log"}, "log loss needs a binary outcome"),
        (groups(), [pcm.demographic_parity("a", outcome="x")], {"inputs": ["a", "y"]}, "y lies below 'x'"),
        (pcm.SCM(laplace), [parity], {"inputs": ["x", "z"]}, "'a' is not finite"),
    ],
    ids=range(10),
)
def test_where_no_exact_method_is_known_the_check_says_so(scm, asked, options, words):
    found = pcm.check(scm, asked, units=500, seed=0, **options)
    assert found.price is None and found.price_minimum is None and found.delivered == ""
    assert f"no price here: {words}" in found.how
    paths = [one for one in asked if isinstance(one, pcm.Requirement)]
    alone = pcm.check(scm, paths, units=500, seed=0, **options).rows if paths else ()
    assert [str(row) for row in found.rows] == [str(row) for row in alone]  # the table of the requirements on paths
    assert pcm.check(pcm.SCM(laplace), [parity]).how == "closed form"  # a root that is read may have any law
