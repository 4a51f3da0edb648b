"""Every family and every coupling has the same skeleton; no family is forgotten."""

from __future__ import annotations

import inspect

import pyro.distributions as dist
import pytest
import torch

from pcm.couplings import Coupling, couplings_of, families, resolve
from tests.unit.couplings.cases import CASES, name_of
from tests.unit.couplings.cases import PAIRS as BOTH

PAIRS = [pytest.param(case, name, id=f"{name_of(case)} {name}") for case, name in BOTH]


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def uniforms(coupling: Coupling, fn: object, value: torch.Tensor, seed: int = 0, *lead: int) -> torch.Tensor:
    events = len(fn.event_shape)  # pyright: ignore[reportAttributeAccessIssue]
    batch = value.shape[: value.dim() - events]
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((*lead, *batch, *coupling.noise_event(fn)), generator=generator, dtype=torch.float64)


def test_every_registered_family_has_a_case() -> None:
    covered = {case.family for case in CASES} | {base for case in CASES for base in case.family.__mro__}
    assert set(families()) <= covered
    assert len({family.__name__ for family in families()}) == 42


def test_the_couplings_of_each_family() -> None:
    known = {family.__name__: list(couplings_of(family)) for family in families()}
    both = ["gumbel_max", "monotone", "independent"]
    assert known.pop("Categorical") == both
    assert known.pop("OneHotCategorical") == both
    assert known.pop("MixtureSameFamily") == ["monotone", "component", "gumbel_max", "independent"]
    assert known.pop("Dirichlet") == ["triangular", "independent"]
    counts = {"Poisson", "Geometric", "NegativeBinomial", "GammaPoisson", "DiscreteLaplace", "DiscreteGaussian"}
    made = {"ZeroInflatedDistribution", "ZeroInflatedPoisson", "ZeroInflatedNegativeBinomial", "MaskedMixture"}
    finite = {"Bernoulli", "Binomial", "OrderedLogistic", "BetaBinomial"}
    for name in counts | made | finite | {"Truncated", "Censored"}:
        assert known.pop(name) == ["monotone", "gumbel_max", "independent"], name
    assert known.pop("Delta") == ["deterministic", "independent"]
    assert known.pop("MultivariateNormal") == ["triangular", "independent"]
    assert all(names == ["monotone", "independent"] for names in known.values())


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_skeleton(case, name) -> None:
    coupling = resolve(case.member(0), name)[0]
    assert coupling.name == name
    assert type(coupling).__doc__
    assert any(issubclass(case.family, family) for family in coupling.families)
    for method in ("push", "abduct", "fresh", "transport"):
        own = getattr(type(coupling), method)
        assert inspect.getdoc(own)
        assert list(inspect.signature(own).parameters) == list(inspect.signature(getattr(Coupling, method)).parameters)
    assert coupling.rung == (2 if name == "independent" else 3)
    assert coupling.invertible == (coupling.rung == 3 and coupling.pointwise and not coupling.discrete)
    has_law = name == "monotone"
    assert not (coupling.univariate and not has_law and name != "independent")


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_parameters_mapped_by_vmap(case, name) -> None:
    if case.family is dist.OrderedLogistic:
        pytest.skip("Pyro builds it with in-place writes, which vmap refuses")
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        first, second = case.parameters(0), case.parameters(1)
        value = case.build(*first).sample()
        coupling, bare = resolve(case.build(*first), name)
        uniform = uniforms(coupling, bare, value)

        def move(*mapped: torch.Tensor) -> torch.Tensor:
            old = resolve(case.build(*first), name)[1]
            new = resolve(case.build(*mapped), name)[1]
            return coupling.transport(old, value, new, uniform)

        both = [torch.stack([a, b]) for a, b in zip(first, second, strict=True)]
        mapped = torch.func.vmap(move)(*both)
        looped = torch.stack([move(*first), move(*second)])
        torch.testing.assert_close(mapped, looped, rtol=1e-12, atol=1e-12)
    finally:
        torch.distributions.Distribution.set_default_validate_args(True)
