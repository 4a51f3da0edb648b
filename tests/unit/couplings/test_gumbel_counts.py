"""Gumbel-max of integers without one finite table: the race that was run, a sum by hand, and what is refused."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import stats

import pcm
from pcm.couplings import Censored, DiscreteLaplace, Truncated, resolve
from pcm.couplings.masses import log_masses
from pcm.errors import CouplingError
from tests.unit.couplings.cases import PAIRS, name_of

COUNTS = [
    pytest.param(case, id=name_of(case))
    for case, name in PAIRS
    if name == "gumbel_max" and resolve(case.member(0), name)[0].cardinality(resolve(case.member(0))[1]) is None
]


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def by_hand(p: list[float], q: list[float], i: int, j: int) -> float:
    """The module's integral, one piece after another over the breakpoints."""
    c = [a / b for a, b in zip(p, q, strict=True)]

    def area(at: float) -> float:
        return 1 + sum(max(0.0, b * at - a) for a, b in zip(p, q, strict=True))

    if i == j:
        return 1 / area(c[i])
    ends = sorted({each for each in c if c[j] <= each <= c[i]})
    return q[j] * sum((b - a) / (area(a) * area(b)) for a, b in pairwise(ends))


@pytest.mark.parametrize(("rate", "other"), [(2.0, 3.0), (9.0, 4.0)])
@pytest.mark.parametrize("value", [0, 3, 8])
def test_two_poissons_against_the_sum_by_hand(rate, other, value) -> None:
    # what lies beyond 60 is less than 1e-30
    p, q = (stats.poisson.pmf(range(60), each).tolist() for each in (rate, other))
    coupling, bare = resolve(dist.Poisson(rate), "gumbel_max")
    outcomes = torch.arange(60.0)
    found = coupling.probability(bare, torch.tensor(float(value)), dist.Poisson(other), outcomes)
    expected = [by_hand(p, q, value, k) for k in range(60)]
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-9, atol=1e-14)
    assert math.isclose(sum(expected), 1.0, rel_tol=1e-12)
    mean = coupling.expectation(bare, torch.tensor(float(value)), dist.Poisson(other)).item()
    assert math.isclose(mean, sum(k * each for k, each in enumerate(expected)), rel_tol=1e-9)


def test_against_races_that_were_run() -> None:
    """Races by exponential arrival times, those won by the factual value kept."""
    generator, draws, value = torch.Generator().manual_seed(0), 200_000, 2
    p, q = (torch.tensor(stats.poisson.pmf(range(40), rate)) for rate in (2.0, 3.5))
    arrival = torch.empty(draws, 40).exponential_(generator=generator)
    kept = arrival[(arrival / p).argmin(-1) == value]
    seen = torch.bincount((kept / q).argmin(-1), minlength=40) / len(kept)
    coupling, bare = resolve(dist.Poisson(2.0), "gumbel_max")
    expected = coupling.probability(bare, torch.tensor(float(value)), dist.Poisson(3.5), torch.arange(40.0))
    # five standard errors
    assert (seen - expected).abs().max() < 5 * 0.5 / math.sqrt(len(kept))
    assert expected[2:].min() >= 0 and (expected[:2] == 0).all() and len(kept) > 50_000


@pytest.mark.parametrize("case", COUNTS)
def test_probabilities_are_the_distributions_own(case) -> None:
    fn = case.member(0)
    values = fn.sample((20,))
    torch.testing.assert_close(log_masses(fn, values), fn.log_prob(values), rtol=1e-11, atol=1e-11)


def test_a_law_or_a_value_outside_the_window_is_refused() -> None:
    coupling, bare = resolve(dist.Poisson(torch.tensor([2.0, 3.0])), "gumbel_max", "visits")
    value, wide = torch.tensor([1.0, 2.0]), dist.Poisson(torch.tensor([2.0, 200.0]))
    mass = stats.poisson(200.0).sf(255)
    words = rf"site 'visits'.*0\.\.255.*{re.escape(f'{mass:.3g}')}.*couplings=\{{'visits': 'monotone'\}}"
    for ask in (
        lambda: coupling.push(wide, torch.zeros(2, 256)),
        lambda: coupling.abduct(wide, value, torch.full((2, 256), 0.5)),
        lambda: coupling.expectation(bare, value, wide),
        lambda: coupling.probability(wide, value, bare, torch.tensor(1.0)),
        lambda: torch.func.vmap(lambda rate: coupling.expectation(bare, value, dist.Poisson(rate)))(
            torch.tensor([[2.0], [200.0]])
        ),
    ):
        with pytest.raises(CouplingError, match=words):
            ask()
    with pytest.raises(CouplingError, match=r"'visits'.*a unit has 256"):
        coupling.expectation(bare, torch.tensor([1.0, 256.0]), bare)
    laplace = resolve(DiscreteLaplace(torch.tensor(0.0), 1.0), "gumbel_max", "noise")[0]
    with pytest.raises(CouplingError, match=r"'noise'.*-128\.\.127"):
        laplace.expectation(DiscreteLaplace(torch.tensor(0.0), 9.0), torch.tensor(1.0), DiscreteLaplace(0.0, 1.0))
    # bounds within the window make any base one that is served
    held = Truncated(dist.Poisson(torch.tensor(200.0)), 0, 255)
    assert resolve(held, "gumbel_max")[0].expectation(held, torch.tensor(190.0), held).item() == 190.0


@pytest.mark.parametrize(
    "fn",
    [
        Truncated(dist.Normal(0.0, 1.0), low=0.0),
        Censored(dist.Normal(0.0, 1.0), high=0.0),
        dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(2), 1.0)),
        dist.ZeroInflatedDistribution(dist.Normal(0.0, 1.0), gate=torch.tensor(0.5)),
    ],
    ids=lambda fn: type(fn).__name__,
)
def test_reals_have_no_race(fn) -> None:
    with pytest.raises(CouplingError, match=r"'dose'.*gumbel_max.*not discrete.*'monotone'"):
        resolve(fn, "gumbel_max", "dose")


def visits(n: int) -> None:
    scale = pyro.sample("scale", dist.LogNormal(0.0, 0.3))
    with pyro.plate("units", n, dim=-1):
        drug = pyro.sample("drug", dist.Normal(0.0, 1.0))
        count = pyro.sample("visits", dist.Poisson(scale * torch.exp(1.0 + drug)))
        pyro.sample("often", dist.Bernoulli(torch.where(count > 3, 0.9, 0.1)))


EVIDENCE = pd.DataFrame({"drug": [0.0, 0.0, 1.0], "visits": [0, 3, 5], "often": [0, 1, 1]})


def test_a_query_from_frame_to_answer() -> None:
    scm = pcm.SCM(visits, couplings={"visits": "gumbel_max"}).given(scale=1.0)
    cf = scm.counterfactual(EVIDENCE, worlds={"more": {"drug": 1.0}, "less": {"drug": -1.0}})
    coupling, bare = resolve(dist.Poisson(math.e), "gumbel_max")
    more = resolve(dist.Poisson(math.e**2))[1]
    values = torch.tensor([0.0, 3.0])
    expected = coupling.expectation(bare, values, more).tolist()
    assert cf.mean("visits", world="more").tolist() == pytest.approx([*expected, 5.0], rel=1e-9)
    chances = coupling.probability(bare, values, more, torch.tensor(4.0)).tolist()
    assert cf.probability("visits", 4, world="more").tolist() == pytest.approx([*chances, 0.0], rel=1e-9)
    draws = cf.draws("visits", world="more")
    assert (draws[:, 2] == 5).all() and abs(draws[:, 0].mean() - expected[0]) < 5 * 3 / math.sqrt(len(draws))
    assert cf.account.sites["visits"].coupling == "gumbel_max" and cf.account.rung == 3


def test_a_world_whose_law_leaves_the_window_is_refused_under_every_draw_of_the_parameters() -> None:
    """Also where only a variable below is asked for, whose mechanism would swallow a NaN."""
    scm = pcm.SCM(visits, couplings={"visits": "gumbel_max"})
    posterior = scm.fit(scm.given(scale=1.0).sample(50, seed=0), draws=20, seed=0, progress=False)
    assert posterior.counterfactual(EVIDENCE, do={"drug": 1.0}).mean("often")[1] == 1.0
    for name in ("visits", "often"):
        for model in (posterior, scm.given(scale=1.0)):
            with pytest.raises(CouplingError, match=r"site 'visits'.*0\.\.255.*probability 1 outside.*'monotone'"):
                model.counterfactual(EVIDENCE, do={"drug": 6.0}).mean(name)
    with pytest.raises(CouplingError, match=r"site 'visits'.*a unit has 300"):
        posterior.counterfactual(EVIDENCE.assign(visits=[0, 300, 5]), do={"drug": 1.0}).mean("visits")
    with pytest.raises(CouplingError, match=r"site 'visits'.*outside"):
        scm.given(scale=100.0).sample(20, seed=0)
