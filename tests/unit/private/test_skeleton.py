"""Every mechanism has the same skeleton, states its loss as OpenDP and dp-accounting do, and is an exact site."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pyro
import pytest
import torch

from pcm import private
from pcm.couplings import Noised, check_distribution, check_value, mechanism_of, resolve
from pcm.errors import PCMError, SupportError
from pcm.private.additive import Additive
from pcm.private.composition import Loss, by_loss_distributions
from pcm.private.costed import TOLERANCE
from pcm.private.events import concentrated, decode, encode, pure_epsilon
from pcm.private.finite import Finite
from pcm.private.mechanism import Mechanism
from pcm.testing import check_coupling
from tests.unit.private.cases import CASES, near

FAMILIES = [getattr(private, name) for name in CASES]
EVERY = [case for cases in CASES.values() for case in cases]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
each_case = pytest.mark.parametrize("case", EVERY, ids=str)


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def concrete(kind: type) -> set[type]:
    found = {each for part in kind.__subclasses__() for each in concrete(part)}
    return found | (set() if inspect.isabstract(kind) else {kind})


def test_no_mechanism_is_forgotten() -> None:
    assert concrete(Mechanism) == set(FAMILIES)
    assert all(len(cases) == 8 for cases in CASES.values())


@each_family
def test_skeleton(family) -> None:
    case = CASES[family.__name__][0]
    mechanism = case.mechanism
    assert dataclasses.is_dataclass(mechanism) and ">>>" in (family.__doc__ or "")
    assert "References" in (sys.modules[family.__module__].__doc__ or "")
    with pytest.raises(dataclasses.FrozenInstanceError):
        mechanism.epsilon = 2.0  # pyright: ignore
    again = CASES[family.__name__][0].mechanism
    assert mechanism == again and hash(mechanism) == hash(again)
    assert len({each.mechanism for each in CASES[family.__name__]}) == 8
    assert eval(repr(mechanism), vars(private) | {family.__name__: family}) == mechanism
    for name in ("release", "simulate", "site"):
        assert getattr(family, name) is getattr(Mechanism, name), "one release for all: checks, debit, noise"
    assert isinstance(mechanism, Finite | Additive)


@each_case
def test_opendps_map_is_the_closed_form(case) -> None:
    mechanism = case.mechanism
    stated = mechanism.epsilon if mechanism.measure == "max_divergence" else mechanism.rho
    assert mechanism.cost() == mechanism.map()
    assert abs(mechanism.map() - stated) <= TOLERANCE * max(1.0, stated)
    if isinstance(mechanism, Additive):
        half = mechanism.map(math.ceil(mechanism.width / 2))
        power = 1 if mechanism.measure == "max_divergence" else 2
        assert half == pytest.approx(stated * (math.ceil(mechanism.width / 2) / mechanism.width) ** power, rel=1e-9)


@each_case
def test_the_event_is_the_closed_form(case) -> None:
    mechanism, event = case.mechanism, case.mechanism.event
    assert decode(encode(event)) == event
    if math.isfinite(mechanism.epsilon):
        assert pure_epsilon(event) == pytest.approx(mechanism.epsilon, rel=1e-12)
    else:
        assert math.isinf(pure_epsilon(event)) and concentrated(event) == pytest.approx(mechanism.rho, rel=1e-12)
    delta, constants = 1e-6, mechanism.record()
    found = by_loss_distributions([Loss(event, constants=constants)], delta)
    if found is not None:  # a grid too large is left to the other accountants
        bound = min(mechanism.epsilon, mechanism.rho + 2 * math.sqrt(mechanism.rho * math.log(1 / delta)))
        assert 0 < found <= bound + 2e-3


@pytest.mark.parametrize("case", [c for c in EVERY if isinstance(c.mechanism, Finite)], ids=str)
def test_finite_tables(case) -> None:
    mechanism = case.mechanism
    table = mechanism.matrix()
    assert table.shape == (len(mechanism.inputs), len(mechanism.outputs))
    assert all(abs(math.fsum(row) - 1) < 1e-12 for row in table)
    ratio = (table[:, None] / table[None]).max()
    assert math.log(ratio) <= mechanism.epsilon * (1 + 1e-12)
    if isinstance(mechanism, private.RandomizedResponse):
        assert math.log(ratio) == pytest.approx(mechanism.epsilon, rel=1e-12)
    site = mechanism.site(torch.arange(len(table))[:, None].expand(table.shape))
    np.testing.assert_allclose(site.log_prob(torch.arange(table.shape[1]).expand(table.shape)).exp(), table, rtol=1e-12)
    for (i, given), (o, out) in itertools.product(enumerate(mechanism.inputs), enumerate(mechanism.outputs)):
        assert mechanism.probability(out, given=given) == table[i, o]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_permute_and_flip_is_its_enumeration(count) -> None:
    """Every order of the candidates, accepted one by one."""
    rng = np.random.default_rng(count)
    utility = rng.normal(size=(2, count)).tolist()
    labels = [f"r{k}" for k in range(count)]
    mechanism = private.PermuteAndFlip(epsilon=2.0, categories=["x", "y"], utility=utility, candidates=labels)
    chance = np.exp(mechanism.scores)
    table = np.zeros((2, count))
    orders = list(itertools.permutations(range(count)))
    for row, order in itertools.product(range(2), orders):
        reached = 1.0
        for place in order:
            table[row, place] += reached * chance[row, place] / len(orders)
            reached *= 1 - chance[row, place]
    np.testing.assert_allclose(mechanism.matrix(), table, rtol=1e-12)
    best = np.arange(2), np.array(utility).argmax(1)
    other = private.Exponential(epsilon=2.0, categories=["x", "y"], utility=utility, candidates=labels)
    assert (mechanism.matrix()[best] >= other.matrix()[best]).all()


def test_exponential_is_its_formula() -> None:
    mechanism = private.Exponential(epsilon=2.0, categories=[0, 1, 2], utility=near)
    weights = np.exp(2.0 * np.array([[0, -1, -2], [-1, 0, -1], [-2, -1, 0]]) / (2 * 2))
    np.testing.assert_allclose(mechanism.matrix(), weights / weights.sum(1, keepdims=True), rtol=1e-12)


def test_matrices_of_clamped_whole_numbers() -> None:
    for family in (private.DiscreteLaplace, private.DiscreteGaussian):
        mechanism = family(scale=1.5, bounds=(0, 3), clamp=(-1, 4))
        table = mechanism.matrix()
        assert table.shape == (4, 6) and all(abs(math.fsum(row) - 1) < 1e-12 for row in table)
        assert table[2, 0] == mechanism.probability(-1, given=2)
    with pytest.raises(PCMError, match="no matrix"):
        private.Laplace(scale=1.0, bounds=(0, 1)).matrix()
    with pytest.raises(PCMError, match="no matrix"):
        private.DiscreteLaplace(scale=1.0, bounds=(0, 1)).matrix()


@pytest.mark.parametrize("case", [c for c in EVERY if isinstance(c.mechanism, Additive)], ids=str)
def test_noise_sums_to_one(case) -> None:
    mechanism = case.mechanism
    value = torch.tensor(float(case.given))
    law = mechanism.law(value)
    low, high = mechanism.clamp or (None, None)
    if mechanism.integer:
        grid = torch.arange(-1_500.0 if low is None else float(low), (1_500.0 if high is None else high) + 1.0)
        mass = law.log_prob(grid).exp()
        assert abs(math.fsum(mass.tolist()) - 1) < 1e-12
        return
    middle = float(np.clip(case.given, *mechanism.bounds))
    spread = 42.0 * mechanism.scale
    start, end = middle - spread if low is None else low, middle + spread if high is None else high
    pieces = sorted({start, middle, end}) if start < middle < end else [start, end]
    nodes, weights = np.polynomial.legendre.leggauss(200)
    total = 0.0
    law._validate_args = False
    for left, right in itertools.pairwise(pieces):
        points = torch.from_numpy(0.5 * (right - left) * nodes + 0.5 * (left + right))
        total += 0.5 * (right - left) * float((law.log_prob(points).exp() * torch.from_numpy(weights)).sum())
    total += sum(float(law.log_prob(torch.tensor(float(end))).exp()) for end in (low, high) if end is not None)
    assert abs(total - 1) < 1e-12


@each_family
def test_sites_keep_the_laws_of_couplings(family) -> None:
    for case in CASES[family.__name__][5:]:
        mechanism = case.mechanism
        if isinstance(mechanism, Finite):
            codes = torch.arange(40) % len(mechanism.inputs)
            worlds = [mechanism.site(codes), mechanism.site(codes.roll(1))]
        else:
            low, high = mechanism.bounds
            inside = torch.linspace(low, high, 40).round() if mechanism.integer else torch.linspace(low, high, 40)
            worlds = [mechanism.site(inside), mechanism.site(inside.flip(0))]
        torch.manual_seed(0)
        check_coupling(resolve(worlds[0])[0], worlds, draws=1_000)
        for wrapped in (worlds[0], worlds[0].expand((2, 40)), worlds[0].to_event(1), worlds[0].mask(False)):
            assert mechanism_of(wrapped) == mechanism
        check_distribution(worlds[0], "x")
        check_value(worlds[0], worlds[0].sample(), "x")


@each_family
def test_simulated_noise_has_the_sites_law(family) -> None:
    case = CASES[family.__name__][6]
    drawn = case.mechanism.simulate([case.given] * 4_000, seed=3)
    again = case.mechanism.simulate([case.given] * 4_000, seed=3)
    assert type(drawn) is private.Simulated and (drawn.values == again.values).all()
    values, counts = np.unique(drawn.values, return_counts=True)
    for value, count in zip(values[:5], counts[:5], strict=True):
        if count > 50:
            chance = case.mechanism.probability(value, given=case.given)
            assert abs(count / 4_000 - chance) < 5 * math.sqrt(chance / 4_000)


def test_simulations_without_a_seed_follow_torch() -> None:
    mechanism = private.Laplace(scale=1.0, bounds=(0, 1))
    table = private.Moments({"x": (0, 1)}, epsilon=1.0)
    frame = pd.DataFrame({"x": [0.5] * 5})
    for simulate in (lambda: mechanism.simulate([0.5] * 5).values, lambda: table.simulate(frame)):
        torch.manual_seed(3)
        first, second = simulate(), simulate()
        torch.manual_seed(3)
        assert (first != second).all() and (first == simulate()).all()
    with pytest.raises(PCMError, match="seed"):
        mechanism.simulate([0.5], seed="0")  # pyright: ignore[reportArgumentType]


def test_observe_is_a_plain_sample_statement() -> None:
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    with pyro.poutine.trace() as traced:  # pyright: ignore[reportAttributeAccessIssue]
        private.observe("reported", torch.ones(3), rr)
    fn = traced.trace.nodes["reported"]["fn"]
    assert isinstance(fn, Noised) and fn.mechanism == rr
    with pytest.raises(PCMError, match="no mechanism"):
        private.observe("reported", torch.ones(3), "rr")  # pyright: ignore


def test_sites_refuse_what_the_mechanism_cannot_take() -> None:
    rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
    for value in (torch.tensor([0.0, 2.0]), torch.tensor([-1.0]), torch.tensor([0.5])):
        with pytest.raises(SupportError, match=r"codes 0\.\.1"):
            rr.site(value)
    with pytest.raises(SupportError, match="whole"):
        private.DiscreteLaplace(scale=1.0, bounds=(0, 3)).site(torch.tensor([0.5]))


def test_a_site_clips_its_input_and_carries_a_gradient() -> None:
    mechanism = private.Laplace(scale=1.0, bounds=(0, 1), clip=True)
    value = torch.tensor([-3.0, 0.4], requires_grad=True)
    term = mechanism.site(value).log_prob(torch.tensor([1.0, 1.0]))
    assert term.tolist() == pytest.approx([-1.0 - math.log(2), -0.6 - math.log(2)])
    (slope,) = torch.autograd.grad(term.sum(), value)
    assert slope.tolist() == [0.0, 1.0]


def test_sites_need_no_extra() -> None:
    """Programs, sites, fits and claims work without OpenDP and dp-accounting; a release says what to install."""
    script = (
        "import sys, torch\n"
        "sys.modules['opendp'] = sys.modules['opendp.prelude'] = sys.modules['dp_accounting'] = None\n"
        "from pcm import private\n"
        "rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])\n"
        "rr.site(torch.ones(2)).sample(); rr.simulate([0, 1]); rr.matrix()\n"
        "import pcm, pyro, pyro.distributions as dist\n"
        "def survey(n):\n"
        "    share = pyro.sample('share', dist.Beta(1.0, 1.0))\n"
        "    with pyro.plate('units', n):\n"
        "        pyro.sample('smoker', dist.Bernoulli(share))\n"
        "fitted = pcm.SCM(survey).fit({'smoker': private.Release([0, 1, 1, 0], rr)}, seed=0)\n"
        "assert private.claims(fitted, {'smoker': rr}, private='smoker').graph_conditional.epsilon == 1.0\n"
        "ledger = private.Ledger(epsilon=1.0)\n"
        "try:\n    rr.release([0, 1], ledger, name='x')\n"
        "except ImportError as error:\n    print(error)\n"
        "assert ledger.spent == 0\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'pcm-causal[private]'" in done.stdout
