"""The vector view: round trips, Jacobians against autograd, batches, fallbacks of derivatives."""

from __future__ import annotations

import math

import pytest
import torch
from pyro.distributions import constraints as pyro_constraints
from torch.distributions import constraints

from pcm.errors import FitError
from pcm.infer import Target
from pcm.infer.unconstrained import Unconstrained

F64 = torch.float64
SUPPORTS = {
    "real": (constraints.real, torch.tensor(0.3)),
    "vector": (constraints.real_vector, torch.tensor([0.3, -2.0])),
    "positive": (constraints.positive, torch.tensor([0.3, 2.0])),
    "above": (constraints.greater_than(2.0), torch.tensor(2.5)),
    "interval": (constraints.interval(-1.0, 3.0), torch.tensor(2.5)),
    "simplex": (constraints.simplex, torch.tensor([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])),
    "ordered": (pyro_constraints.ordered_vector, torch.tensor([-1.0, 0.5, 0.6])),
    "cholesky": (constraints.lower_cholesky, torch.tensor([[1.5, 0.0], [-0.7, 0.2]])),
    "definite": (constraints.positive_definite, torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]])),
    "correlation": (pyro_constraints.corr_matrix, torch.tensor([[1.0, 0.3], [0.3, 1.0]])),
}
FREE = {  # entries that fix the value, where it has fewer degrees of freedom than entries
    "simplex": lambda x: x[..., :-1],
    "cholesky": lambda x: x[torch.tril_indices(2, 2).unbind()],
    "definite": lambda x: x[torch.tril_indices(3, 3).unbind()],
    "correlation": lambda x: x[0, 1:],
}


def space_of(name, log_density=lambda theta: next(iter(theta.values())).sum(), **options):
    support, value = SUPPORTS[name]
    return Unconstrained(Target(log_density, {name: support}, {name: value.to(F64)}), **options)


@pytest.mark.parametrize("name", SUPPORTS)
def test_round_trip_and_jacobian(name):
    space = space_of(name, lambda theta: torch.zeros((), dtype=F64))
    vector = space.vector()
    torch.testing.assert_close(space.values(vector)[name], SUPPORTS[name][1].to(F64))
    vector = vector + 0.1 * torch.arange(space.dimension)
    free = FREE.get(name, lambda x: x)
    jacobian = torch.func.jacrev(lambda u: free(space.values(u)[name]).reshape(-1))(vector)
    assert jacobian.shape == (space.dimension, space.dimension)
    expected = torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(space.log_density(vector), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        space_of(name, jacobian=False).log_density(vector), space.values(vector)[name].sum(), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", SUPPORTS)
@pytest.mark.parametrize("way", ["vmap", "loop", "given"])
def test_batches_equal_single_points(name, way):
    def plain(theta):
        value = theta[name]
        if way == "loop":
            float(value.sum())  # data-dependent Python: vmap cannot
        return value.square().sum()

    support, value = SUPPORTS[name]
    given = (lambda theta: theta[name].square().reshape(len(theta[name]), -1).sum(-1)) if way == "given" else None
    space = Unconstrained(Target(plain, {name: support}, {name: value.to(F64)}, batched=given))
    vectors = space.vector() + 0.2 * torch.randn(
        5, space.dimension, dtype=F64, generator=torch.Generator().manual_seed(0)
    )
    expected = torch.stack([space.log_density(vector) for vector in vectors])
    torch.testing.assert_close(space.log_densities(vectors), expected, rtol=1e-12, atol=1e-12)
    assert space.batching == way
    assert space.values(vectors)[name].shape == (5, *value.shape)


def test_chunks_do_not_change_the_answer():
    target = Target(
        lambda theta: -(theta["x"] ** 4).sum(), {"x": constraints.real_vector}, {"x": torch.ones(3, dtype=F64)}
    )
    large = Target(target.log_density, target.supports, target.initial, units=10**7)
    vectors = torch.randn(7, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Unconstrained(target).log_densities(vectors), Unconstrained(large).log_densities(vectors))
    assert torch.equal(Unconstrained(target).hessian(vectors[0]), Unconstrained(large).hessian(vectors[0]))


def test_nan_counts_as_outside():
    space = space_of("real", lambda theta: theta["real"].sqrt())
    assert space.log_densities(torch.tensor([[-1.0], [4.0]], dtype=F64)).tolist() == [-math.inf, 2.0]


def test_values_on_the_edge_get_a_finite_coordinate():
    target = Target(lambda theta: theta["s"], {"s": constraints.positive}, {"s": torch.zeros((), dtype=F64)})
    assert Unconstrained(target).vector().tolist() == [0.0]


class Square(torch.autograd.Function):
    """x², with a gradient that cannot be differentiated again."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 2 * x * gradient


class Cube(torch.autograd.Function):
    """x³, with a backward pass that reads numbers and so cannot be batched."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(context, gradient):
        (x,) = context.saved_tensors
        return 3 * CubeSlope.apply(x, gradient)


class CubeSlope(torch.autograd.Function):
    @staticmethod
    def forward(context, x, gradient):
        context.save_for_backward(x, gradient)
        return x * x * gradient

    @staticmethod
    def backward(context, gradient):
        x, inner = context.saved_tensors
        gradient.sum().item()
        return 2 * x * inner * gradient, x * x * gradient


@pytest.mark.parametrize(
    ("function", "expected", "way"),
    [
        (lambda x: -(x**4).sum() - x[0] * x[1], [[-12.0, -1.0], [-1.0, -48.0]], "batched rows"),
        (lambda x: -Cube.apply(x).sum(), [[-6.0, 0.0], [0.0, -12.0]], "rows"),
        (lambda x: -Square.apply(x).sum() - x[0] * x[1], [[-2.0, -1.0], [-1.0, -2.0]], "differences of the gradient"),
        (lambda x: x.sum(), [[0.0, 0.0], [0.0, 0.0]], "batched rows"),
    ],
)
def test_hessian_and_its_fallbacks(function, expected, way):
    space = Unconstrained(
        Target(lambda theta: function(theta["x"]), {"x": constraints.real_vector}, {"x": torch.ones(2, dtype=F64)})
    )
    for _ in range(2):
        hessian = space.hessian(torch.tensor([1.0, 2.0], dtype=F64))
        torch.testing.assert_close(hessian, torch.tensor(expected, dtype=F64), rtol=1e-7, atol=1e-7)
        assert space.differentiation == way


def test_refusals():
    with pytest.raises(FitError, match=r"support of the parameter 'axis'.*no bijection.*svi needs"):
        Unconstrained(
            Target(
                lambda theta: theta["axis"].sum(),
                {"axis": pyro_constraints.sphere},
                {"axis": torch.eye(2, dtype=F64)[0]},
            ),
            method="svi",
        )
    detached = Unconstrained(
        Target(lambda theta: theta["x"].detach(), {"x": constraints.real}, {"x": torch.zeros((), dtype=F64)}),
        jacobian=False,
    )
    with pytest.raises(FitError, match="does not depend on the parameters x in a differentiable way"):
        detached.value_and_gradient(detached.vector())
