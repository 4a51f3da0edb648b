"""The graph read off programs that are hard to read: known edges, named errors."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pcm.errors import CouplingError, ProgramError, UnitMixingError
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


# -- programs that are refused -----------------------------------------------------------------------------------------


def branch_on_a_value():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(1.0 if (x > 0).all() else 0.0, 1.0))


def branch_elementwise():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(1.0 if x > 0 else 0.0, 1.0))


def a_float():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(float(x.reshape(-1)[0]), 1.0))


def numpy_inside():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(torch.as_tensor(np.tanh(x.numpy())), 1.0))


def numpy_asarray():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(torch.as_tensor(np.asarray(x)), 1.0))


def a_list():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("y", Normal(torch.tensor(x.tolist()), 1.0))


def twice_one_name():
    pyro.sample("x", Normal(0.0, 1.0))
    pyro.sample("x", Normal(0.0, 1.0))


def deterministic_twice():
    x = pyro.sample("x", Normal(0.0, 1.0))
    pyro.deterministic("x", x)


def observed():
    pyro.sample("x", Normal(0.0, 1.0), obs=torch.tensor(1.0))


def factor():
    pyro.sample("y", Normal(0.0, 1.0))
    pyro.factor("x", torch.tensor(1.0))


def no_distribution():
    pyro.sample("x", torch.zeros(3))


def writes_in_place():
    x = pyro.sample("x", Normal(0.0, 1.0))
    x += 1
    pyro.sample("y", Normal(x, 1.0))


def outside_randomness():
    pyro.sample("x", Normal(torch.randn(1), 1.0))


def wrong_dim(n):
    with pyro.plate("units", n, dim=-2):
        pyro.sample("x", Normal(0.0, 1.0))


def wrong_size(n):
    with pyro.plate("units", n + 1):
        pyro.sample("x", Normal(0.0, 1.0))


def subsampled(n):
    with pyro.plate("units", n, subsample_size=2):
        pyro.sample("x", Normal(0.0, 1.0))


def wrong_name(n):
    with pyro.plate("data", n):
        pyro.sample("x", Normal(0.0, 1.0))


def below_the_plate(n):
    with pyro.plate("units", n):
        a = pyro.sample("a", Normal(0.0, 1.0))
    pyro.sample("x", Normal(a, 1.0))


def batch_of_three():
    pyro.sample("x", Normal(torch.zeros(3), 1.0))


def deterministic_number():
    pyro.sample("y", Normal(0.0, 1.0))
    pyro.deterministic("x", 3.0)


def float32_inside():
    x = pyro.sample("x", Normal(torch.zeros(2), 1.0).to_event(1))
    pyro.sample("y", Normal(x @ torch.ones(2, dtype=torch.float32), 1.0))


def fails_with_a_key():
    pyro.sample("x", Normal(0.0, 1.0))
    {}["x"]


def fails_with_an_assertion():
    pyro.sample("x", Normal(0.0, 1.0))
    raise AssertionError("never")


def divides_by_zero():
    pyro.sample("x", Normal(0.0, 1.0))
    1 / 0  # noqa: B018


def circular():
    pyro.sample("x", dist.VonMises(0.0, 1.0))


REFUSED = [
    (branch_on_a_value, UnitMixingError, "x", "torch.where"),
    (branch_elementwise, UnitMixingError, "x", "torch.where"),
    (a_float, UnitMixingError, "x", "torch operations"),
    (numpy_inside, UnitMixingError, "x", "torch operations"),
    (numpy_asarray, UnitMixingError, "x", "torch operations"),
    (a_list, UnitMixingError, "x", "torch operations"),
    (twice_one_name, ProgramError, "x", "own name"),
    (deterministic_twice, ProgramError, "x", "own name"),
    (observed, ProgramError, "x", "Remove obs="),
    (factor, ProgramError, "x", "sample statement"),
    (no_distribution, ProgramError, "x", "no distribution"),
    (writes_in_place, ProgramError, "x", "in place"),
    (outside_randomness, ProgramError, "x", "sample statement"),
    (wrong_dim, ProgramError, "x", "dim -1"),
    (wrong_size, ProgramError, "x", "units"),
    (subsampled, ProgramError, "x", "units"),
    (wrong_name, ProgramError, "x", "name that plate 'units'"),
    (below_the_plate, ProgramError, "x", "units"),
    (batch_of_three, ProgramError, "x", "to_event"),
    (deterministic_number, ProgramError, "y", "deterministic_number"),
    (float32_inside, ProgramError, "x", "float64"),
    (fails_with_a_key, ProgramError, "x", "KeyError"),
    (fails_with_an_assertion, ProgramError, "x", "never"),
    (divides_by_zero, ProgramError, "x", "division by zero"),
    (circular, CouplingError, "x", "VonMises"),
]


@pytest.mark.parametrize(("program", "error", "culprit", "words"), REFUSED, ids=lambda v: getattr(v, "__name__", None))
def test_a_program_that_is_no_model_is_refused_with_the_site_named(program, error, culprit, words):
    with pytest.raises(error) as caught:
        Program(program)
    message = str(caught.value)
    assert culprit in message and words in message, message


def two_numbers(n, m): ...


def nothing(): ...


def parameters_alone(n):
    pyro.sample("slope", Normal(0.0, 1.0))


def default_number(n=100):
    with pyro.plate("units", n):
        pyro.sample("x", Normal(0.0, 1.0))


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (two_numbers, "keyword-only: def two_numbers(n, *, m)"),
        (nothing, "no pyro.sample statement"),
        (parameters_alone, "units"),
        (default_number, "units"),
        (3, "callable"),
        ("program", "callable"),
        (None, "callable"),
        (print, "no pyro.sample statement"),
        (dict, "dict"),
    ],
    ids=str,
)
def test_what_is_no_program_at_all(program, words):
    with pytest.raises(ProgramError) as caught:
        Program(program)
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, "float64", None])
def test_a_dtype_no_program_runs_in(dtype):
    with pytest.raises(ProgramError, match="float64"):
        Program(triple(lambda a, b: a), dtype=dtype)
