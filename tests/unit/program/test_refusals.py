"""Programs that are no structural causal model: refused, with the site named."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from pcm.errors import CouplingError, ProgramError, UnitMixingError
from pcm.program import Program

Normal = dist.Normal


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
    ids=lambda value: getattr(value, "__name__", None) or str(value),
)
def test_what_is_no_program_at_all(program, words):
    with pytest.raises(ProgramError) as caught:
        Program(program)
    assert words in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, "float64", None])
def test_a_dtype_no_program_runs_in(dtype):
    with pytest.raises(ProgramError, match="float64"):
        Program(lambda: pyro.sample("x", Normal(0.0, 1.0)), dtype=dtype)
