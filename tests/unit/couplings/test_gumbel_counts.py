"""Gumbel-max of integers without one finite table: the race that was run, a sum by hand, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
from pcm.program import Program
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


def by_hand(p: Sequence[float], q: Sequence[float], i: int, j: int) -> float:
    """The module's integral, one piece after another over the breakpoints; no outcome impossible after arrives."""
    possible = [(a, b) for a, b in zip(p, q, strict=True) if b > 0]
    own = p[i] / q[i] if q[i] > 0 else math.inf

    def area(at: float) -> float:
        return 1 + sum(max(0.0, b * at - a) for a, b in possible)

    if i == j:
        return 1 / area(own)
    if q[j] == 0 or p[j] / q[j] >= own:
        return 0.0
    ends = sorted({a / b for a, b in possible if p[j] / q[j] <= a / b <= own} | ({own} - {math.inf}))
    found = sum((b - a) / (area(a) * area(b)) for a, b in pairwise(ends))
    # behind the last of them the area grows at rate one
    return q[j] * (found + (1 / area(ends[-1]) if own == math.inf else 0.0))


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


def test_a_law_of_too_many_integers_is_refused() -> None:
    coupling, bare = resolve(dist.Poisson(torch.tensor([2.0, 3.0])), "gumbel_max", "visits")
    value, wide = torch.tensor([1.0, 2.0]), dist.Poisson(torch.tensor([2.0, 1e9]))
    words = r"site 'visits'.*446,\d\d\d integers.*at most 65,536.*couplings=\{'visits': 'monotone'\}"
    for ask in (
        lambda: coupling.push(wide, torch.full((2, 1), 0.5)),
        lambda: coupling.transport(bare, value, wide, torch.full((2, 1), 0.5)),
        lambda: coupling.abduct(wide, value, torch.full((2, 1), 0.5)),
        lambda: coupling.expectation(bare, value, wide),
        lambda: coupling.probability(bare, value, wide, torch.tensor(1.0)),
        lambda: torch.func.vmap(lambda rate: coupling.expectation(bare, value, dist.Poisson(rate)))(
            torch.tensor([[2.0], [1e9]])
        ),
    ):
        with pytest.raises(CouplingError, match=words):
            ask()
    for probs in (1e-4, 0.0):
        with pytest.raises(CouplingError, match=r"'visits'.*Geometric.*integers"):
            coupling.expectation(bare, value, dist.Geometric(torch.tensor(probs), validate_args=False))
    # bounds make any base one that is served
    held = Truncated(dist.Poisson(torch.tensor(1e9)), 0, 255)
    assert resolve(held, "gumbel_max")[0].expectation(held, torch.tensor(190.0), held).item() == 190.0


WIDE = {
    "Poisson": (dist.Poisson(2e4), dist.Poisson(2.03e4), stats.poisson(2e4), stats.poisson(2.03e4)),
    "Geometric": (dist.Geometric(0.01), dist.Geometric(0.02), stats.geom(0.01, loc=-1), stats.geom(0.02, loc=-1)),
    "DiscreteLaplace": (
        DiscreteLaplace(torch.tensor(-3e5), 20.0),
        DiscreteLaplace(torch.tensor(-3e5 + 7), 30.0),
        stats.dlaplace(1 / 20, loc=-3e5),
        stats.dlaplace(1 / 30, loc=-3e5 + 7),
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_wide_and_far_laws_against_the_sum_by_hand(name) -> None:
    """Further out than any fixed window: Poisson at 20,000, Geometric to 2,700, integers around -300,000."""
    fn, other, p, q = WIDE[name]
    coupling, bare = resolve(fn, "gumbel_max")
    outcomes = range(int(p.ppf(1e-15)), int(max(p.ppf(1 - 1e-15), q.ppf(1 - 1e-15))) + 1)
    for value in (int(p.ppf(0.2)), int(p.ppf(0.999))):
        place = value - outcomes[0]
        rows = [p.pmf(outcomes), q.pmf(outcomes)]
        near = torch.arange(value - 3.0, value + 4.0)
        found = coupling.probability(bare, torch.tensor(float(value)), other, near)
        expected = [by_hand(*(row.tolist() for row in rows), place, int(k) - outcomes[0]) for k in near]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-7, atol=1e-12)


def raced(p, q, value: int, outcomes: range, runs: int, seed: int) -> torch.Tensor:
    """Winners under ``q`` of races that ``value`` won under ``p``: arrivals given that, top-down."""
    generator = torch.Generator().manual_seed(seed)
    before, after = (torch.tensor(each.pmf(outcomes)) for each in (p, q))
    found = []
    for _ in range(0, runs, 1_000):
        wait = torch.empty(1_000, 1).exponential_(generator=generator)
        times = before * wait + torch.empty(1_000, len(outcomes)).exponential_(generator=generator)
        times[:, value - outcomes[0]] = before[value - outcomes[0]] * wait[:, 0]
        found.append((times / after).argmin(-1) + outcomes[0])
    return torch.cat(found).double()


@pytest.mark.parametrize("name", WIDE)
def test_draws_of_wide_laws_against_races_of_every_outcome(name) -> None:
    fn, other, p, q = WIDE[name]
    coupling, bare = resolve(fn, "gumbel_max")
    outcomes = range(int(p.ppf(1e-13)), int(max(p.ppf(1 - 1e-13), q.ppf(1 - 1e-13))) + 1)
    value, runs = int(p.ppf(0.7)), 6_000
    uniform = torch.rand(runs, 1, generator=torch.Generator().manual_seed(1))
    drawn = coupling.transport(bare, torch.full((runs,), float(value)), other, uniform)
    assert stats.ks_2samp(drawn.numpy(), raced(p, q, value, outcomes, runs, 0).numpy()).pvalue > 1e-6
    stay = coupling.probability(bare, torch.tensor(float(value)), other, torch.tensor(float(value))).item()
    assert abs((drawn == value).double().mean() - stay) < 5 * 0.5 / math.sqrt(runs)
    mean = coupling.expectation(bare, torch.tensor(float(value)), other).item()
    assert abs(drawn.mean() - mean) < 5 * drawn.std() / math.sqrt(runs)
    fresh = coupling.push(other, coupling.fresh(other, uniform)).numpy()
    assert stats.ks_2samp(fresh, q.rvs(runs, random_state=0)).pvalue > 1e-6


def test_a_value_that_the_other_law_hardly_takes() -> None:
    """It lies outside the outcomes that race there, and still may be the first: by its own two probabilities."""
    coupling, two = resolve(dist.Poisson(2.0), "gumbel_max")
    value = torch.tensor(40.0)
    p, q = (stats.poisson.pmf(range(90), rate).tolist() for rate in (2.0, 1.0))
    for outcome in (0, 1, 40):
        found = coupling.probability(two, value, dist.Poisson(1.0), torch.tensor(float(outcome))).item()
        assert math.isclose(found, by_hand(p, q, 40, outcome), rel_tol=1e-9, abs_tol=1e-15)
    # nothing became more likely than a value so unlikely before, whatever its probabilities are in doubles
    far = torch.tensor(900.0)
    assert coupling.probability(two, far, dist.Poisson(3.0), far).item() == 1.0
    uniform = torch.rand(500, 1, generator=torch.Generator().manual_seed(0))
    assert (coupling.transport(two, far.expand(500), dist.Poisson(3.0), uniform) == 900.0).all()
    moved = coupling.transport(two, value.expand(500), dist.Poisson(1.0), uniform)
    assert torch.equal(moved, coupling.push(dist.Poisson(1.0), coupling.abduct(two, value.expand(500), uniform)))


def test_worlds_share_every_outcomes_noise() -> None:
    """One key, three worlds: the value of each is the best of the Gumbels that abduction lays out for all."""
    coupling, fn = resolve(dist.Poisson(torch.tensor([3.0, 50.0, 400.0])), "gumbel_max")
    value = torch.tensor([5.0, 44.0, 410.0])
    uniform = torch.rand(300, 3, 1, generator=torch.Generator().manual_seed(0))
    noise = coupling.abduct(fn, value.expand(300, 3), uniform)
    for rate in ([3.0, 50.0, 400.0], [4.0, 60.0, 390.0], [900.0, 1.0, 3000.0]):
        world = dist.Poisson(torch.tensor(rate))
        pushed = coupling.push(world, noise)
        assert torch.equal(pushed, coupling.transport(fn, value.expand(300, 3), world, uniform))
    assert torch.equal(coupling.push(fn, noise), value.expand(300, 3))
    apart = torch.cat([coupling.transport(fn, value.expand(9, 3), world, part) for part in uniform[:27].split(9)])
    assert torch.equal(apart, coupling.transport(fn, value.expand(27, 3), world, uniform[:27]))


def totals(kind: str, total: torch.Tensor, chance: torch.Tensor) -> object:
    return (
        dist.Binomial(total, chance)
        if kind == "Binomial"
        else dist.BetaBinomial(3.0 * chance, 3.0 * (1.0 - chance), total)
    )


@pytest.mark.parametrize("kind", ["Binomial", "BetaBinomial"])
def test_totals_by_unit_against_enumeration(kind) -> None:
    """Tables of every unit by scipy; the intervention changes the totals as well as the chances."""
    total, other_total = torch.tensor([3.0, 7.0, 0.0, 12.0]), torch.tensor([5.0, 2.0, 4.0, 12.0])
    chance, other_chance = torch.tensor([0.3, 0.6, 0.5, 0.9]), torch.tensor([0.5, 0.2, 0.5, 0.7])
    fn, other = totals(kind, total, chance), totals(kind, other_total, other_chance)
    coupling, bare = resolve(fn, "gumbel_max")
    table = [
        [
            (
                stats.binom.pmf(range(13), n, p)
                if kind == "Binomial"
                else stats.betabinom.pmf(range(13), n, 3 * p, 3 * (1 - p))
            ).tolist()
            for n, p in zip(ns.tolist(), ps.tolist(), strict=True)
        ]
        for ns, ps in ((total, chance), (other_total, other_chance))
    ]
    value = torch.tensor([1.0, 5.0, 0.0, 11.0])
    found = torch.stack([coupling.probability(bare, value, other, torch.tensor(float(k))) for k in range(13)], -1)
    for unit, (p, q) in enumerate(zip(*table, strict=True)):
        expected = [by_hand(p, q, int(value[unit]), k) for k in range(13)]
        assert found[unit].tolist() == pytest.approx(expected, abs=1e-12)
    mean = (found * torch.arange(13.0)).sum(-1)
    torch.testing.assert_close(coupling.expectation(bare, value, other), mean, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("coupling", "kind"), [("gumbel_max", "Binomial"), ("gumbel_max", "BetaBinomial"), ("monotone", "BetaBinomial")]
)
def test_totals_that_an_intervention_changes(coupling, kind) -> None:
    def exam(n: int) -> None:
        with pyro.plate("units", n, dim=-1):
            asked = pyro.sample("asked", dist.Poisson(8.0))
            skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
            right = pyro.sample("right", totals(kind, asked, torch.sigmoid(skill)))  # pyright: ignore
            pyro.sample("passed", dist.Bernoulli(torch.where(right > 4, 0.9, 0.1)))

    scm = pcm.SCM(exam, couplings={"right": coupling})
    frame = scm.sample(40, seed=0)
    assert (frame["right"] <= frame["asked"]).all()
    again = scm.counterfactual(frame, do={name: frame[name].to_numpy() for name in ("asked", "skill")})
    assert again.mean("right").tolist() == frame["right"].tolist()
    assert (again.draws("right") == frame["right"].to_numpy()).all()
    cf = scm.counterfactual(frame, worlds={"long": {"asked": 30.0}, "short": {"asked": 2.0}}, draws=400, seed=0)
    for world, most in (("long", 30), ("short", 2)):
        draws, mean = cf.draws("right", world=world), cf.mean("right", world=world)
        assert draws.max() <= most and draws.min() >= 0
        assert (abs(draws.mean(0) - mean) < 5.5 * most / 2 / math.sqrt(400)).all()
        chances = sum(cf.probability("right", k, world=world) for k in range(most + 1))
        assert chances.tolist() == pytest.approx([1.0] * 40, abs=1e-11)


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


def test_a_world_of_too_wide_a_law_is_refused_under_every_draw_of_the_parameters() -> None:
    """Also where only a variable below is asked for, whose mechanism would swallow a NaN."""
    scm = pcm.SCM(visits, couplings={"visits": "gumbel_max"})
    posterior = scm.fit(scm.given(scale=1.0).sample(50, seed=0), draws=20, seed=0, progress=False)
    assert posterior.counterfactual(EVIDENCE, do={"drug": 1.0}).mean("often")[1] == 1.0
    for name in ("visits", "often"):
        for model in (posterior, scm.given(scale=1.0)):
            with pytest.raises(CouplingError, match=r"site 'visits'.*at most 65,536.*'monotone'"):
                model.counterfactual(EVIDENCE, do={"drug": 20.0}).mean(name)
    many = posterior.counterfactual(EVIDENCE.assign(visits=[0, 300, 5]), do={"drug": 1.0}).mean("visits")
    assert many[1] >= 300
    with pytest.raises(CouplingError, match=r"site 'visits'.*integers"):
        scm.given(scale=1e9).sample(20, seed=0)


@pytest.mark.parametrize("each", [True, False])
@pytest.mark.parametrize("coupling", ["gumbel_max", "monotone"])
def test_one_total_that_an_intervention_changes(coupling, each) -> None:
    """The same for all units: whatever rests on the count looks at the outcomes of its own world."""

    def exam(n: int) -> None:
        with pyro.plate("units", n, dim=-1):
            asked = pyro.deterministic("asked", torch.full((n,), 3.0) if each else torch.tensor(3.0))
            skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
            right = pyro.sample("right", dist.Binomial(asked, torch.sigmoid(skill)))
            pyro.sample("passed", dist.Bernoulli(torch.where(right > 4, 0.9, 0.1)))

    scm = pcm.SCM(exam, couplings={"right": coupling})
    frame = pd.DataFrame({"skill": [0.0, 0.5, -2.0], "right": [1, 3, 0], "passed": [1, 1, 1]})
    cf = scm.counterfactual(frame, do={"asked": 20.0}, draws=2_000, seed=0)
    bare, other = (dist.Binomial(total, torch.sigmoid(torch.tensor([0.0, 0.5, -2.0]))) for total in (3.0, 20.0))
    value = torch.tensor([1.0, 3.0, 0.0])
    known = resolve(bare, coupling)[0]
    expected = known.expectation(bare, value, other).tolist()
    assert cf.mean("right").tolist() == pytest.approx(expected, rel=1e-12)
    above = sum(known.probability(bare, value, other, torch.tensor(float(k))) for k in range(5, 21))
    assert isinstance(above, torch.Tensor)
    # who passed at a chance of .1 passes at .9
    assert cf.mean("passed").tolist() == pytest.approx([1.0] * 3)
    more = scm.counterfactual(frame.assign(passed=0), do={"asked": 20.0}, draws=2_000, seed=0).mean("passed")
    assert more.tolist() == pytest.approx((above * (1 - 0.1 / 0.9)).tolist(), abs=5 * 0.5 / math.sqrt(2_000))


def test_a_total_that_is_a_number_is_counted_also_when_it_is_written_for_every_unit() -> None:
    def exam(n: int) -> None:
        with pyro.plate("units", n, dim=-1):
            skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
            right = pyro.sample("right", dist.Binomial(torch.full((n,), 3.0), torch.sigmoid(skill)))
            extra = pyro.sample("extra", dist.Bernoulli(1e-6))
            more = pyro.sample("more", dist.Binomial(3.0 + extra, torch.sigmoid(skill)))
            pyro.sample("passed", dist.Bernoulli(torch.where(right + more > 4, 0.9, 0.1)))

    sites = Program(exam).structure.sites
    assert sites["right"].cardinality == 4
    # the same for all units whenever it was looked at, and yet a variable behind it
    assert sites["more"].cardinality is None


@pytest.mark.parametrize("coupling", ["gumbel_max", "monotone"])
def test_a_total_that_was_never_seen_to_change(coupling) -> None:
    """No outcome is left out in silence, and the way out that is named is one."""

    def exam(n: int, told: bool = False) -> None:
        with pyro.plate("units", n, dim=-1):
            skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
            asked = torch.where(skill > 50.0, 20.0, 3.0)
            asked = pyro.deterministic("asked", asked) if told else asked
            right = pyro.sample("right", dist.Binomial(asked, torch.sigmoid(skill)))
            pyro.sample("passed", dist.Bernoulli(torch.where(right > 4, 0.9, 0.1)))

    frame = pd.DataFrame({"skill": [0.0, 0.5], "right": [1, 3], "passed": [0, 0]})
    hidden, told = (pcm.SCM(each, couplings={"right": coupling}) for each in (exam, lambda n: exam(n, told=True)))
    with pytest.raises(CouplingError, match=r"'right'.*had 4 outcomes.*has 21 in this world.*pyro\.deterministic"):
        hidden.counterfactual(frame, do={"skill": 60.0}).mean("passed")
    assert hidden.counterfactual(frame, do={"skill": 60.0}).mean("right").tolist() == pytest.approx([20.0, 20.0])
    found = told.counterfactual(frame, do={"skill": 60.0}, draws=500, seed=0).mean("passed")
    assert found.tolist() == pytest.approx([1 - 0.1 / 0.9] * 2, abs=1e-6)


def test_a_binomial_of_one_total_has_the_table_of_its_category() -> None:
    """Over two worlds and three, whatever their totals, as a Categorical of the same probabilities."""
    fns = [dist.Binomial(float(total), torch.full((5,), chance)) for total, chance in ((3, 0.3), (4, 0.5), (2, 0.6))]
    tables = [
        dist.Categorical(torch.tensor([stats.binom.pmf(range(5), total, chance).tolist()] * 5))
        for total, chance in ((3, 0.3), (4, 0.5), (2, 0.6))
    ]
    coupling, category = resolve(fns[0], "gumbel_max")[0], resolve(tables[0])[0]
    assert coupling.cardinality(fns[0]) == 4 and coupling.chained(5) and not coupling.chained(7)
    value, at = torch.tensor([0.0, 1.0, 2.0, 3.0, 1.0]), torch.tensor([4.0, 3.0, 2.0, 4.0, 4.0])
    found = coupling.transition(fns[0], value, fns[1])
    torch.testing.assert_close(found, category.transition(tables[0], value.long(), tables[1]), rtol=1e-9, atol=1e-12)
    found = coupling.transition_after(fns[0], value, fns[1], at, fns[2])
    expected = category.transition_after(tables[0], value.long(), tables[1], at.long(), tables[2])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    with pytest.raises(TypeError, match="Poisson has no table"):
        coupling.transition(dist.Poisson(2.0), value, dist.Poisson(3.0))


@pytest.mark.parametrize("law", ["Poisson", "Binomial", "BetaBinomial"])
def test_missing_counts_have_one_law_whatever_the_coupling(law) -> None:
    """What is known of them does not rest on it, and where an intervention leaves their law nothing else does."""

    def exam(n: int) -> None:
        with pyro.plate("units", n, dim=-1):
            asked = pyro.sample("asked", dist.Poisson(8.0))
            skill = pyro.sample("skill", dist.Normal(0.0, 1.0))
            chance = torch.sigmoid(skill)
            right = pyro.sample(
                "right", dist.Poisson(40.0 * chance) if law == "Poisson" else totals(law, asked, chance)
            )  # pyright: ignore
            pyro.sample("score", dist.Normal(right, 2.0))

    frame = pcm.SCM(exam, couplings={"right": "monotone"}).sample(30, seed=0).drop(columns="right")
    found = []
    for coupling in ("monotone", "gumbel_max"):
        cf = pcm.SCM(exam, couplings={"right": coupling}).counterfactual(frame, do={"score": 0.0})
        found.append([cf.mean("right", world="factual").tolist(), cf.mean("right").tolist()])
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-9)
    assert found[0][0] == pytest.approx(found[1][1], rel=1e-9)
