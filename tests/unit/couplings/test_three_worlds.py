"""The law of a third world's outcome given two others': Gumbel-max and Binomial, against enumeration and draws."""

from __future__ import annotations

import itertools

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from pcm.couplings import resolve
from pcm.couplings.counts import BinomialCoupling
from pcm.couplings.gumbel_max import GumbelMax


def laws(kinds: int, rows: int, seed: int) -> list[torch.distributions.Categorical]:
    """Three worlds of random probabilities, some of them 0 and some ratios the same."""
    generator = torch.Generator().manual_seed(seed)
    tables = torch.softmax(1.5 * torch.randn(3, rows, kinds, generator=generator, dtype=torch.float64), -1)
    tables[0, ::7, 0] = 0.0
    tables[2, ::5, -1] = 0.0
    tables[1, ::3, :2] = 2.0 * tables[0, ::3, :2]  # curves that coincide
    return [torch.distributions.Categorical(each / each.sum(-1, keepdim=True)) for each in tables]


def full(fns: list, value: Tensor, count: int) -> Tensor:
    """``P(x' = j, x'' = k | x = value)``, (batch, j, k)."""
    coupling = resolve(fns[0])[0]
    first = coupling.transition(fns[0], value, fns[1])
    rows = [
        first[..., j, None] * coupling.transition_after(fns[0], value, fns[1], torch.full_like(value, j), fns[2])
        for j in range(count)
    ]
    return torch.stack(rows, -2)


@pytest.mark.parametrize("kinds", [2, 3, 4, 5, 6])
def test_gumbel_max_over_three_worlds_has_the_laws_of_each_two(kinds: int) -> None:
    p, q, r = laws(kinds, 210, kinds)
    coupling = resolve(p)[0]
    assert isinstance(coupling, GumbelMax)
    for code in range(kinds):
        value = torch.full((210,), code)
        possible = p.probs[:, code] > 0
        joint = full([p, q, r], value, kinds)[possible]
        assert bool((joint >= 0).all())
        # the second world summed out leaves the law of the third; the worlds may be asked in either order
        assert (joint.sum(-2) - coupling.transition(p, value, r)[possible]).abs().max() < 1e-12
        assert (joint.sum(-1) - coupling.transition(p, value, q)[possible]).abs().max() < 1e-12
        assert (joint - full([p, r, q], value, kinds)[possible].mT).abs().max() < 1e-12


@pytest.mark.parametrize("kinds", [3, 5])
def test_gumbel_max_over_three_worlds_against_races_that_were_run(kinds: int) -> None:
    fns, runs = laws(kinds, 8, 10 + kinds), 200_000
    generator = torch.Generator().manual_seed(0)
    noise = -torch.log(torch.rand(runs, kinds, generator=generator, dtype=torch.float64))
    row = 1
    won = [(noise / fn.probs[row]).argmin(-1) for fn in fns]
    for i in range(kinds):
        mine = full(fns, torch.full((8,), i), kinds)[row]
        here = [each[won[0] == i] for each in won]
        for j, k in itertools.product(range(kinds), repeat=2):
            hits, chance = float(((here[1] == j) & (here[2] == k)).sum()), float(mine[j, k])
            error = (len(here[0]) * chance * (1 - chance)) ** 0.5
            assert abs(hits - len(here[0]) * chance) <= 5 * error + 1e-9


def test_where_a_world_is_another_one_its_outcome_is_the_same() -> None:
    p, q, _ = laws(5, 64, 3)
    coupling = GumbelMax()
    value = torch.arange(64) % 5
    possible = p.probs.gather(1, value[:, None])[:, 0] > 0
    again = coupling.transition_after(p, value, p, value, q)
    assert (again - coupling.transition(p, value, q))[possible].abs().max() < 1e-12
    at = coupling.transition(p, value, q).argmax(-1)
    kept = coupling.transition_after(p, value, q, at, q).gather(1, at[:, None])[:, 0]
    assert (kept - 1)[possible].abs().max() < 1e-12


def test_a_binomial_over_three_worlds_has_the_law_of_its_intervals() -> None:
    chances = torch.tensor([[0.3, 0.9, 0.5], [0.6, 0.2, 0.5], [0.45, 0.5, 0.99]], dtype=torch.float64)
    p, q, r = (dist.Binomial(4, each) for each in chances)
    coupling = resolve(p)[0]
    assert isinstance(coupling, BinomialCoupling) and coupling.chained(5)
    table = torch.stack([fn.log_prob(torch.arange(5.0, dtype=torch.float64)[:, None]).exp() for fn in (p, q, r)])
    ends = torch.cat([torch.zeros(3, 1, 3, dtype=torch.float64), table.cumsum(1)], 1)  # (world, end, unit)
    for code in range(5):
        value = torch.full((3,), float(code), dtype=torch.float64)
        joint = full([p, q, r], value, 5)
        for j, k in itertools.product(range(5), repeat=2):
            picked = [code, j, k]
            low = torch.stack([ends[w, c] for w, c in enumerate(picked)]).amax(0)
            high = torch.stack([ends[w, c + 1] for w, c in enumerate(picked)]).amin(0)
            truth = (high - low).clamp(min=0) / table[0, code]
            assert (joint[:, j, k] - truth).abs().max() < 1e-11


def test_chains_of_many_categories_are_left_to_draws() -> None:
    assert GumbelMax().chained(6) and not GumbelMax().chained(7) and not GumbelMax().chained(None)
