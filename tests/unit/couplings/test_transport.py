"""The hot loop: what location-scale transport and the parameters' reading promise beyond the laws."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from pcm.couplings import resolve
from pcm.couplings.parameters import compact, given_logits, identical, logit


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_equal_scales_shift_to_the_bit() -> None:
    torch.manual_seed(0)
    value, old, new = torch.randn(1_000), torch.randn(1_000), torch.randn(1_000)
    new[::2] = old[::2]
    coupling, fn = resolve(dist.Normal(old, 0.5))
    moved = coupling.transport(fn, value, dist.Normal(new, 0.5))
    assert torch.equal(moved, value + (new - old))
    assert torch.equal(moved[::2], value[::2])
    wide = torch.full((1_000,), 0.5).clone()
    assert torch.equal(coupling.transport(dist.Normal(old, wide), value, dist.Normal(new, wide.clone())), moved)


def test_inputs_are_never_written() -> None:
    tensors = [torch.randn(10), torch.randn(10), torch.rand(10) + 1, torch.randn(10), torch.rand(10) + 1]
    before = [each.clone() for each in tensors]
    value, loc, scale, new_loc, new_scale = tensors
    coupling, fn = resolve(dist.Normal(loc, scale))
    coupling.transport(fn, value, dist.Normal(new_loc, new_scale))
    coupling.transport(dist.Normal(loc, 1.0), value, dist.Normal(new_loc, 1.0))
    bernoulli, odds = resolve(dist.Bernoulli(logits=loc))
    bernoulli.transition(odds, (value > 0).double(), dist.Bernoulli(logits=new_loc))
    assert all(torch.equal(each, old) for each, old in zip(tensors, before, strict=True))


def test_expanded_scalars_are_one_number() -> None:
    assert compact(dist.Normal(torch.zeros(1_000_000), 0.5).scale).dim() == 0
    assert compact(torch.zeros(3, 1).expand(3, 5)).shape == (3, 1)
    assert compact(torch.zeros(3).expand(5, 3)).shape == (1, 3)
    assert compact(torch.zeros(4, 3)).shape == (4, 3)
    assert identical(torch.tensor(0.5).expand(9), torch.tensor(0.5).expand(9))
    assert not identical(torch.tensor(0.5).expand(9), torch.tensor(0.25).expand(9))


def test_gradients_flow_through_transport() -> None:
    value, loc, scale = torch.randn(5), torch.randn(5).requires_grad_(), (torch.rand(5) + 1).requires_grad_()
    coupling = resolve(dist.Normal(loc, scale))[0]

    def move(new_loc: torch.Tensor, new_scale: torch.Tensor) -> torch.Tensor:
        return coupling.transport(dist.Normal(loc, scale), value, dist.Normal(new_loc, new_scale))

    assert torch.autograd.gradcheck(move, (torch.randn(5).requires_grad_(), (torch.rand(5) + 1).requires_grad_()))
    odds = torch.randn(5).requires_grad_()
    bernoulli = resolve(dist.Bernoulli(logits=odds))[0]
    ones = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0])
    other = (torch.randn(5) * 3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda a, b: bernoulli.expectation(dist.Bernoulli(logits=a), ones, dist.Bernoulli(logits=b)), (odds, other)
    )


@pytest.mark.parametrize(
    "build",
    [
        lambda a: dist.Normal(a, 0.5, validate_args=False),
        lambda a: dist.Normal(a, a, validate_args=False),
        lambda a: dist.Gamma(a, 2.0, validate_args=False),
        lambda a: dist.Poisson(a, validate_args=False),
        lambda a: dist.Bernoulli(logits=a, validate_args=False),
        lambda a: dist.Categorical(logits=torch.stack([a, -a, a * a], -1), validate_args=False),
    ],
)
def test_traced_equals_eager(build) -> None:
    torch.manual_seed(0)
    first, second = torch.rand(20) + 0.5, torch.rand(20) + 0.5
    coupling, fn = resolve(build(first))
    value, uniform = fn.sample(), torch.rand(20, *coupling.noise_event(fn))

    def move(value: torch.Tensor, old: torch.Tensor, new: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        return coupling.transport(build(old), value, build(new), uniform)

    traced = make_fx(move)(value, first, second, uniform)
    again = traced(value, second, first, uniform)
    torch.testing.assert_close(again, move(value, second, first, uniform), rtol=1e-14, atol=1e-14)


def test_the_parameter_that_was_given_is_read() -> None:
    tiny = dist.Bernoulli(torch.tensor(1e-20))
    tiny.log_prob(torch.tensor(0.0))  # caches logits clamped at 2e-16
    assert not given_logits(tiny)
    assert logit(tiny).item() == pytest.approx(-46.0517, abs=1e-4)
    steep = dist.Bernoulli(logits=torch.tensor(46.0))
    steep.sample()  # caches probs rounded to 1
    assert given_logits(steep)
    coupling, fn = resolve(steep)
    moved = coupling.expectation(fn, torch.tensor(0.0), dist.Bernoulli(logits=torch.tensor(47.0)))
    assert moved.item() == pytest.approx(0.6321205588, rel=1e-9)  # 1 - 1/e, where probs say 0


def test_single_precision_in_single_precision_out() -> None:
    torch.set_default_dtype(torch.float32)
    a = torch.rand(8) + 0.5
    uniform = torch.rand(8, dtype=torch.float64)
    for fn in (dist.Normal(a, 0.5), dist.Gamma(a, a), dist.Beta(a, a), dist.StudentT(a + 2, a, a), dist.Poisson(a)):
        coupling, bare = resolve(fn)
        assert coupling.push(bare, coupling.fresh(bare, uniform)).dtype == torch.float32
        value = fn.sample()
        assert (
            coupling.transport(bare, value, type(fn)(*(getattr(fn, n) for n in fn.arg_constraints)), uniform).dtype
            == value.dtype
        )
