"""The graph read off programs that are hard to read: known edges."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm
from pcm.program import Program

Normal = dist.Normal


def edges(program, **options):
    return {(a, b) for a, b in Program(program, **options).graph.edges}


def inert(program):
    return {(a, b) for a, b, marks in Program(program).graph.edges(data=True) if marks["inert"]}


def triple(mechanism):
    """a ~ Normal(50, 5), b ~ Normal(0, 1), c ~ Normal(mechanism(a, b), 1): a > 65 happens once in 700 units."""

    def program():
        a = pyro.sample("a", Normal(50.0, 5.0))
        b = pyro.sample("b", Normal(0.0, 1.0))
        pyro.sample("c", Normal(mechanism(a, b), 1.0))

    return program


def by_slices(a, b):
    out = torch.zeros(a.shape[-1])
    out[:] = 2 * a
    return out


def by_mask(a, b):
    out = torch.zeros(a.shape[-1])
    out[a > 65] = 1.0
    return out


def by_masked_fill(a, b):
    out = torch.zeros(a.shape[-1])
    out.masked_fill_(a > 65, 1.0)
    return out


def by_method_in_place(a, b):
    out = torch.zeros(a.shape[-1])
    out.add_(a > 65)
    return out


def by_augmented_assignment(a, b):
    out = torch.zeros(a.shape[-1])
    out += (a > 65) * 1.0
    return out


def by_out_argument(a, b):
    out = torch.zeros(a.shape[-1])
    torch.mul((a > 65) * 1.0, 2.0, out=out)
    return out


def by_loop_over_columns(a, b):
    out = torch.zeros(a.shape[-1], 2)
    for column, value in enumerate((a, a * 2)):
        out[:, column] = value
    return out.sum(-1)


def by_new_tensor(a, b):
    out = a.new_zeros(a.shape.numel()) + a.size(-1) * 0
    out[...] = a
    return out


def by_temporary(a, b):
    temporary = a * 1.0
    temporary.mul_(2.0).clamp_(max=60.0)
    return temporary


def by_sorting_an_event_dim(a, b):
    return torch.stack([a, 2 * a], -1).sort(-1).values[..., 0]


def by_max_of_an_event_dim(a, b):
    best = torch.stack([a, 2 * a], -1).max(-1)
    return best.values + 0 * best.indices


READS_A = [
    by_slices,
    by_mask,
    by_masked_fill,
    by_method_in_place,
    by_augmented_assignment,
    by_out_argument,
    by_loop_over_columns,
    by_new_tensor,
    by_temporary,
    by_sorting_an_event_dim,
    by_max_of_an_event_dim,
    lambda a, b: (a > 65) * 1.0,
    lambda a, b: torch.where(a > 65, 1.0, 0.0),
    lambda a, b: (a.detach() > 65).double(),
    lambda a, b: torch.bucketize(a, torch.tensor([65.0, 80.0])) * 1.0,
    lambda a, b: torch.tensor([0.0, 1.0])[(a > 65).long()],
    lambda a, b: torch.nn.functional.one_hot((a > 65).long(), 2)[..., 1] * 1.0,
    lambda a, b: torch.logical_and(a > 65, torch.ones_like(a, dtype=torch.bool)).double(),
    lambda a, b: torch.einsum("i,i->i", a, torch.ones_like(a)),
    lambda a, b: torch.stack([a, torch.zeros_like(a)], -1) @ torch.tensor([1.0, 1.0]),
]


@pytest.mark.parametrize("mechanism", READS_A, ids=lambda f: f.__name__)
def test_every_way_to_read_a_variable_is_an_edge_and_nothing_else_is(mechanism):
    assert edges(triple(mechanism)) == {("a", "c")}


@pytest.mark.parametrize(
    "mechanism",
    [
        lambda a, b: 0 * a + b,
        lambda a, b: a - a + b,
        lambda a, b: torch.stack([a, b], -1)[..., 1],
        lambda a, b: torch.where(b > -1e9, b, a),
    ],
)
def test_an_edge_that_no_change_shows_is_kept_and_marked_inert(mechanism):
    program = triple(mechanism)
    assert edges(program) == {("a", "c"), ("b", "c")}
    assert inert(program) == {("a", "c")}


def test_an_edge_that_shows_is_not_inert():
    assert inert(triple(lambda a, b: a + b)) == set()


def test_chains_of_deterministic_sites_are_nodes():
    def program():
        age = pyro.sample("age", Normal(50.0, 5.0))
        old = pyro.deterministic("old", (age > 65) * 1.0)
        young = pyro.deterministic("young", 1 - old)
        pyro.sample("y", Normal(young, 1.0))

    assert edges(program) == {("age", "old"), ("old", "young"), ("young", "y")}
    assert [site.kind for site in Program(program).structure.sites.values()] == [
        "variable",
        "deterministic",
        "deterministic",
        "variable",
    ]


def test_a_constant_deterministic_site_is_a_root():
    def program():
        dose = pyro.deterministic("dose", torch.tensor(3.0))
        pyro.sample("y", Normal(dose, 1.0))

    assert edges(program) == {("dose", "y")}


def test_masks_carry_provenance():
    def by_handler():
        a = pyro.sample("a", Normal(0.0, 1.0))
        with pyro.poutine.mask(mask=a > 3):
            pyro.sample("y", Normal(0.0, 1.0))

    def by_distribution():
        a = pyro.sample("a", Normal(0.0, 1.0))
        pyro.sample("y", Normal(torch.zeros_like(a), 1.0).mask(a > 3))

    assert edges(by_handler) == edges(by_distribution) == {("a", "y")}


def test_pyros_ordered_logistic_reads_its_predictor():
    def program():
        a = pyro.sample("a", Normal(0.0, 1.0))
        b = pyro.sample("b", Normal(0.0, 1.0))
        pyro.sample("y", dist.OrderedLogistic(a, torch.tensor([-1.0, 1.0]) + 0 * b[..., None]))

    assert ("a", "y") in edges(program)


@pytest.mark.parametrize(
    "read",
    [
        lambda table, c: table[c],
        lambda table, c: table[c.long()],
        lambda table, c: table.gather(0, c),
        lambda table, c: table.index_select(0, c),
        lambda table, c: torch.take(table, c),
        lambda table, c: torch.nn.functional.one_hot(c, 3).double() @ table,
    ],
)
def test_a_table_indexed_by_a_category(read):
    def program():
        c = pyro.sample("c", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        pyro.sample("y", Normal(read(torch.tensor([0.0, 1.0, 5.0]), c), 1.0))

    assert edges(program) == {("c", "y")}


def test_covariates_are_roots_read_by_name():
    def program(n, *, age, dose):
        slope = pyro.sample("slope", Normal(0.0, 1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", Normal(age, 1.0))
            pyro.sample("y", Normal(slope * x + (dose > 65), 1.0))

    made = Program(program)
    assert made.covariates == ("age", "dose") and made.parameters == ("slope",)
    assert made.variables == ("age", "dose", "x", "y")
    assert edges(program) == {("age", "x"), ("x", "y"), ("dose", "y")}
    assert dict(made.graph.nodes(data="kind")) == {
        "age": "covariate",
        "dose": "covariate",
        "x": "variable",
        "y": "variable",
    }


@pytest.mark.parametrize("form", ["implicit", "implicit without dim", "explicit", "explicit outside"])
def test_plates_inside_a_unit(form):
    def body(plate):
        a = pyro.sample("a", Normal(0.0, 1.0))
        with plate:
            x = pyro.sample("x", Normal(a, 1.0))
        pyro.sample("y", Normal(x.sum(0), 1.0))

    def implicit():
        body(pyro.plate("visits", 3, dim=-2))

    def implicit_without_dim():
        body(pyro.plate("visits", 3))

    def explicit(n):
        with pyro.plate("units", n):
            body(pyro.plate("visits", 3))

    def outside(n):
        visits = pyro.plate("visits", 3, dim=-2)
        with pyro.plate("units", n, dim=-1):
            body(visits)

    program = {
        "implicit": implicit,
        "implicit without dim": implicit_without_dim,
        "explicit": explicit,
        "explicit outside": outside,
    }[form]
    made = Program(program)
    assert edges(program) == {("a", "x"), ("x", "y")}
    assert {name: site.inner for name, site in made.structure.sites.items()} == {"a": (), "x": (3,), "y": ()}


def test_parameters_in_plates_and_parameters_of_parameters():
    def program(n):
        mu = pyro.sample("mu", Normal(0.0, 1.0))
        tau = pyro.sample("tau", dist.HalfNormal(1.0))
        with pyro.plate("wards", 4):
            theta = pyro.sample("theta", Normal(mu, tau))
        weights = pyro.sample("weights", Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("units", n):
            ward = pyro.sample("ward", dist.Categorical(torch.ones(4) / 4))
            x = pyro.sample("x", Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("y", Normal(theta[ward] + x @ weights, 1.0))

    made = Program(program)
    assert made.parameters == ("mu", "tau", "theta", "weights")
    assert {name: site.event for name, site in made.structure.parameters.items()} == {
        "mu": (),
        "tau": (),
        "theta": (4,),
        "weights": (2,),
    }
    assert edges(program) == {("ward", "y"), ("x", "y")}


def test_time_inside_a_unit():
    def program(n):
        with pyro.plate("units", n):
            x = pyro.sample("x_0", Normal(0.0, 1.0))
            for t in pyro.markov(range(1, 4)):
                x = pyro.sample(f"x_{t}", Normal(0.5 * x, 1.0))

    assert edges(program) == {("x_0", "x_1"), ("x_1", "x_2"), ("x_2", "x_3")}


def test_names_that_are_no_identifiers():
    def program():
        a = pyro.sample("blood pressure (mmHg)", Normal(0.0, 1.0))
        pyro.sample("Ängste/Jahr", Normal(a, 1.0))

    assert edges(program) == {("blood pressure (mmHg)", "Ängste/Jahr")}


def test_a_computed_number_may_be_an_index():
    """One more than a computed index is none: another unit's is tried instead."""
    table = torch.tensor([[0.1, 0.7], [0.4, 0.9]])

    def program():
        u = pyro.sample("u", dist.Categorical(torch.tensor([0.3, 0.3, 0.4])))
        level = pyro.deterministic("level", (u > 1).long())
        b = pyro.sample("b", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(table[level, b.long()]))

    scm = pcm.SCM(program)
    assert set(scm.graph.edges) == {("u", "level"), ("level", "y"), ("b", "y")}
    cf = scm.counterfactual({"u": [0, 2], "b": [1, 0], "y": [0, 1]}, do={"level": 0}, seed=0)
    assert cf.probability("y", 1).tolist() == pytest.approx([0.0, 0.25])
