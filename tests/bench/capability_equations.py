"""Rows on the structural equation behind a distribution: another on request, of a mixture, of a law of one's own.

Of a `Categorical` the question is asked three times: with noise drawn afresh, by Gumbel-max, by the quantile. A count
with zeros in excess and a mixture keep the unit's rank under the law as a whole. The law of one's own has the density
``2 x / s²`` on ``[0, s]`` and the equation ``x = s √u``.

>>> ("own", "pcm") in CELLS
True
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jax.numpy as jnp
import networkx as nx
import numpy as np
import numpyro
import numpyro.distributions as law
import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from dowhy import gcm
from dowhy.gcm.causal_mechanisms import InvertibleFunctionalCausalModel
from scipy import optimize, stats

import pcm
from pcm.couplings import Coupling, register
from pcm.testing import check_coupling
from tests.bench.capability_by_hand import both_sides, gumbel_max, replay
from tests.bench.capability_cells import CELLS, MANY, SAME, THERE, cell, referral, same
from tests.bench.capability_numpyro import arrays, replay_jax, sides_jax
from tests.bench.capability_rivals import Quantiles, discrete, shares, split

__all__ = ["CELLS", "KEPT", "KEPT_AFRESH", "OWN", "THREE"]

# -- another coupling: P(plan had site been 1 | plan), a table a coupling ----------------------------------------------

MONOTONE = np.array([[0.4, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
THREE = np.stack([np.tile(THERE, (3, 1)), [[0.4, 18 / 130, 6 / 13], [0.0, 10 / 13, 3 / 13], [0.0, 0.0, 1.0]], MONOTONE])
"""The quantile's table is the overlap of the intervals of ``HERE`` and ``THERE``; Gumbel-max's Oberst & Sontag's."""


@cell("coupling", "pcm")
def _() -> Any:
    def ask(name: str) -> Any:
        scm = pcm.SCM(referral(pyro, dist), couplings={"plan": name})
        cf = scm.counterfactual({"site": [0, 0, 0], "plan": [0, 1, 2]}, do={"site": 1}, seed=0)
        return np.stack([cf.probability("plan", code) for code in range(3)], -1)

    return np.stack([ask(name) for name in ("independent", "gumbel_max", "monotone")])


@cell("coupling", "ChiRho")
def _() -> Any:
    seen = {"site": torch.zeros(3 * MANY), "plan": torch.arange(3).repeat_interleave(MANY)}
    found = split(referral(pyro, dist), {"site": torch.tensor(1.0)}, seen, "plan", 3 * MANY)
    return np.stack([shares(found.reshape(3, MANY))] * 3)  # there is nothing to choose


@cell("coupling", "DoWhy gcm")
def _() -> Any:
    return discrete(referral(pyro, dist), "site", "plan", {"site": [0.0] * 3, "plan": ["0", "1", "2"]}, 1.0)


def by_quantile(before: Any, code: int, after: Any) -> Any:
    low, high = np.sum(before[:code]), np.sum(before[: code + 1])
    ends = np.append(0.0, np.cumsum(after))
    return np.clip(np.minimum(high, ends[1:]) - np.maximum(low, ends[:-1]), 0.0, None) / (high - low)


def three_tables(before: Any, after: Any) -> np.ndarray:
    gumbel = shares([gumbel_max(before[code], code, after[code]) for code in range(3)])
    quantile = [by_quantile(before[code], code, after[code]) for code in range(3)]
    return np.stack([after, gumbel, quantile])


@cell("coupling", "Pyro", both_sides, gumbel_max, by_quantile, three_tables)
def _() -> Any:
    seen = {"site": torch.zeros(3), "plan": torch.arange(3)}
    past, now = both_sides(referral(pyro, dist), seen, {"site": torch.ones(3)})
    return three_tables(past["plan"]["fn"].probs.numpy(), now["plan"]["fn"].probs.numpy())


@cell("coupling", "NumPyro", sides_jax, gumbel_max, by_quantile, three_tables)
def _() -> Any:
    program = referral(numpyro, law, jnp.array, jnp.where)
    past, now = sides_jax(program, {"site": jnp.zeros(3), "plan": jnp.arange(3)}, {"site": jnp.ones(3)})
    return three_tables(np.asarray(past["plan"]["fn"].probs), np.asarray(now["plan"]["fn"].probs))


# -- a count with zeros in excess, and a mixture of two normals --------------------------------------------------------

SHOP = {"x": 0.0, "visits": 1.0, "spent": 1.2}
NEW = 1.0


def shop(ppl: Any, law: Any, array: Any = torch.tensor, exp: Any = torch.exp, stack: Any = torch.stack) -> Any:
    def program() -> None:
        x = ppl.sample("x", law.Normal(0.0, 1.0))
        ppl.sample("visits", law.ZeroInflatedPoisson(rate=exp(0.5 + 0.5 * x), gate=array(0.3)))
        parts = law.Normal(stack([x, 3.0 - x], -1), 0.5)
        weights = law.Categorical(probs=stack([0.6 + 0 * x, 0.4 + 0 * x], -1))
        ppl.sample("spent", law.MixtureSameFamily(weights, parts))

    return program


def _visits(x: float) -> np.ndarray:
    masses = 0.7 * stats.poisson.pmf(np.arange(60), np.exp(0.5 + 0.5 * x))
    masses[0] += 0.3
    return masses


def _spent(x: float, value: float) -> float:
    return 0.6 * stats.norm.cdf(value, x, 0.5) + 0.4 * stats.norm.cdf(value, 3 - x, 0.5)


def _same_rank() -> float:
    rank = _spent(SHOP["x"], SHOP["spent"])
    return float(optimize.brentq(lambda value: _spent(NEW, value) - rank, -10, 10, xtol=1e-12))


KEPT = np.array([by_quantile(_visits(SHOP["x"]), int(SHOP["visits"]), _visits(NEW)) @ np.arange(60), _same_rank()])
"""Mean of the visits and the amount had x been ``NEW``, the unit's rank kept."""
KEPT_AFRESH = np.array([_visits(NEW) @ np.arange(60), 0.6 * NEW + 0.4 * (3 - NEW)])


@cell("mixed", "pcm")
def _() -> Any:
    cf = pcm.SCM(shop(pyro, dist)).counterfactual(SHOP, do={"x": NEW}, seed=0)
    return [cf.mean("visits")[0], cf.mean("spent")[0]]


@cell("mixed", "ChiRho")
def _() -> Any:
    program, sets, seen = shop(pyro, dist), {"x": torch.tensor(NEW)}, same(SHOP)
    return [split(program, sets, seen, name, SAME).mean() for name in ("visits", "spent")]


class Inflated:
    """A scipy-like law; the rank of a count is drawn from its interval."""

    def __init__(self, rate: Any) -> None:
        self.rate = rate

    def below(self, count: Any) -> Any:
        return np.where(np.asarray(count) < 0, 0.0, 0.3 + 0.7 * stats.poisson.cdf(count, self.rate))

    def cdf(self, count: Any) -> Any:
        low = self.below(count - 1)
        return low + np.random.uniform(size=np.shape(count)) * (self.below(count) - low)  # noqa: NPY002

    def ppf(self, rank: Any) -> Any:
        return stats.poisson.ppf(np.clip((rank - 0.3) / 0.7, 0.0, 1.0), self.rate).clip(0.0)


class Mixed:
    """A scipy-like law; the quantile by bisection."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def cdf(self, value: Any) -> Any:
        return 0.6 * stats.norm.cdf(value, self.x, 0.5) + 0.4 * stats.norm.cdf(value, 3 - self.x, 0.5)

    def ppf(self, rank: Any) -> Any:
        low, high = np.full(np.shape(rank), -20.0), np.full(np.shape(rank), 20.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.cdf(middle) < rank
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return middle


@cell("mixed", "DoWhy gcm", Quantiles, Inflated, Mixed)
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("x", "visits"), ("x", "spent")]))
    model.set_causal_mechanism("x", gcm.ScipyDistribution(stats.norm))
    model.set_causal_mechanism("visits", Quantiles(lambda x: Inflated(np.exp(0.5 + 0.5 * x))))
    model.set_causal_mechanism("spent", Quantiles(Mixed))
    units = pd.DataFrame([SHOP] * SAME)
    gcm.fit(model, units)  # nothing to learn, but DoWhy refuses a model that was not fitted
    return gcm.counterfactual_samples(model, {"x": lambda _: NEW}, observed_data=units)[["visits", "spent"]].mean()


def mean_of_rank(before: Any, after: Any, count: int, codes: Any) -> Any:
    p, q = (np.exp(np.asarray(fn.log_prob(codes))) for fn in (before, after))
    return by_quantile(p, count, q) @ np.asarray(codes)


def same_rank(before: Any, after: Any, value: Any, low: Any, high: Any) -> Any:
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if after.cdf(middle) < before.cdf(value) else (low, middle)
    return middle


def both_ranks(past: Any, now: Any, seen: Any, codes: Any, low: Any, high: Any) -> Any:
    visits = mean_of_rank(past["visits"]["fn"], now["visits"]["fn"], int(seen["visits"]), codes)
    return [visits, float(same_rank(past["spent"]["fn"], now["spent"]["fn"], seen["spent"], low, high))]


@cell("mixed", "Pyro", both_sides, by_quantile, mean_of_rank, same_rank, both_ranks)
def _() -> Any:
    seen = {name: torch.tensor(value) for name, value in SHOP.items()}
    past, now = both_sides(shop(pyro, dist), seen, {"x": torch.tensor(NEW)})
    return both_ranks(past, now, seen, torch.arange(60.0), torch.tensor(-20.0), torch.tensor(20.0))


@cell("mixed", "NumPyro", sides_jax, by_quantile, mean_of_rank, same_rank, both_ranks)
def _() -> Any:
    seen = {name: jnp.asarray(value) for name, value in SHOP.items()}
    past, now = sides_jax(shop(numpyro, law, jnp.array, jnp.exp, jnp.stack), seen, {"x": NEW})
    return both_ranks(past, now, seen, jnp.arange(60.0), jnp.asarray(-20.0), jnp.asarray(20.0))


# -- a law of one's own ------------------------------------------------------------------------------------------------

OWN = {"the counterfactual", "a right equation passes", "a wrong one does not"}
"""What is asked: of a unit at 1 on ``[0, 2]``, had it been ``[0, 3]``, and a test of the equation."""


def found(counterfactual: Any, test: Callable[[bool], Any]) -> set[str]:
    """Which of ``OWN`` came out; ``test(wrong)`` fails for a wrong equation."""
    facts = {"the counterfactual"} if np.allclose(np.asarray(counterfactual), 1.5, atol=1e-6) else set()
    facts |= {"a right equation passes"} if test(False) else set()
    return facts if test(True) else facts | {"a wrong one does not"}


class Ramp(dist.TorchDistribution):
    """Density ``2 x / s²`` on ``[0, s]``."""

    arg_constraints = {"s": dist.constraints.positive}  # noqa: RUF012
    support: Any = dist.constraints.nonnegative

    def __init__(self, s: Any) -> None:
        self.s = torch.as_tensor(s)
        super().__init__(self.s.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return Ramp(self.s.expand(batch_shape))

    def log_prob(self, value: Any) -> Any:
        return torch.where((value >= 0) & (value <= self.s), (2 * value / self.s**2).log(), -torch.inf)

    def sample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.s * torch.rand(shape, dtype=self.s.dtype).sqrt()


class RampEquation(Coupling):
    """``x = s √u``."""

    name = "monotone"
    families = (Ramp,)
    power = 0.5

    def push(self, fn: Any, noise: Any) -> Any:
        return fn.s * noise**self.power

    def abduct(self, fn: Any, value: Any, uniform: Any = None) -> Any:
        return (value / fn.s) ** (1 / self.power)

    def fresh(self, fn: Any, uniform: Any) -> Any:
        return uniform


class WrongEquation(RampEquation):
    """It comes back from its round trip, and has another law."""

    power = 0.6


register(RampEquation())


def ramps(ppl: Any, ramp: Any) -> Callable[[], Any]:
    def program() -> None:
        s = ppl.sample("s", (dist if ppl is pyro else law).Gamma(4.0, 2.0))
        ppl.sample("x", ramp(s))

    return program


@cell("own", "pcm")
def _() -> Any:
    worlds = [Ramp(torch.tensor([1.0, s])) for s in (0.5, 4.0)]

    def test(wrong: bool) -> bool:
        with suppress(AssertionError):
            return not check_coupling(WrongEquation() if wrong else RampEquation(), worlds).broken
        return False

    cf = pcm.SCM(ramps(pyro, Ramp)).counterfactual({"s": [2.0], "x": [1.0]}, do={"s": 3.0})
    return found(cf.mean("x"), test)


def conforms(push: Any, pull: Any, draw: Any, laws: Any) -> bool:
    noise = np.random.default_rng(0).uniform(size=4_000)
    for fn in laws:
        value = np.asarray(push(fn, noise))
        if not np.allclose(pull(fn, value), noise) or stats.ks_2samp(value, draw(fn)).pvalue < 1e-6:
            return False
    return True


def push_ramp(s: Any, noise: Any) -> Any:
    return s * noise**0.5


def pull_ramp(s: Any, value: Any) -> Any:
    return (value / s) ** 2


def wrong_ramp(s: Any, noise: Any) -> Any:
    return s * noise**0.6


def wrong_back(s: Any, value: Any) -> Any:
    return (value / s) ** (1 / 0.6)


def conforms_by_hand(wrong: bool) -> bool:
    pushed, pulled = (wrong_ramp, wrong_back) if wrong else (push_ramp, pull_ramp)
    return conforms(pushed, pulled, lambda s: Ramp(s).sample((4_000,)), [0.5, 4.0])


@cell("own", "ChiRho", conforms, note="as a `TransformedDistribution`")
def _() -> Any:
    def ramp(s: Any) -> Any:
        root = [dist.transforms.PowerTransform(torch.tensor(0.5)), dist.transforms.AffineTransform(0.0, s)]
        return dist.TransformedDistribution(dist.Uniform(0.0, 1.0), root)

    cf = split(ramps(pyro, ramp), {"s": torch.tensor(3.0)}, same({"s": 2.0, "x": 1.0}), "x", SAME)
    return found(cf, conforms_by_hand)


class RampMechanism(InvertibleFunctionalCausalModel):
    """The equation as a mechanism for DoWhy."""

    def fit(self, X: Any, Y: Any) -> None: ...

    def clone(self) -> Any:
        return RampMechanism()

    def draw_noise_samples(self, num_samples: int) -> Any:
        return np.random.uniform(size=num_samples)  # noqa: NPY002

    def evaluate(self, parent_samples: Any, noise_samples: Any) -> Any:
        return push_ramp(parent_samples[:, 0], noise_samples)

    def estimate_noise(self, target_samples: Any, parent_samples: Any) -> Any:
        return pull_ramp(parent_samples[:, 0], target_samples)


@cell("own", "DoWhy gcm", conforms)
def _() -> Any:
    model = gcm.InvertibleStructuralCausalModel(nx.DiGraph([("s", "x")]))
    model.set_causal_mechanism("s", gcm.ScipyDistribution(stats.gamma, a=4.0, loc=0.0, scale=0.5))
    model.set_causal_mechanism("x", RampMechanism())
    unit = pd.DataFrame({"s": [2.0], "x": [1.0]})
    gcm.fit(model, unit)
    return found(gcm.counterfactual_samples(model, {"s": lambda _: 3.0}, observed_data=unit)["x"], conforms_by_hand)


@cell("own", "Pyro", replay, conforms)
def _() -> Any:
    def pull(fn: Any, value: Any) -> Any:
        return pull_ramp(fn.s, value) if isinstance(fn, Ramp) else value

    def push(fn: Any, noise: Any) -> Any:
        return push_ramp(fn.s, noise) if isinstance(fn, Ramp) else noise

    seen = {"s": torch.tensor(2.0), "x": torch.tensor(1.0)}
    now = replay(ramps(pyro, Ramp), seen, {"s": torch.tensor(3.0)}, pull, push)[1]
    return found(now["x"]["value"], conforms_by_hand)


class RampJax(law.Distribution):
    """The law in NumPyro."""

    support = law.constraints.nonnegative

    def __init__(self, s: Any) -> None:
        self.s = s
        super().__init__(jnp.shape(s), validate_args=False)

    def log_prob(self, value: Any) -> Any:
        return jnp.log(2 * value / self.s**2)


@cell("own", "NumPyro", replay_jax, conforms)
def _() -> Any:
    def pull(fn: Any, value: Any) -> Any:
        return pull_ramp(fn.s, value) if isinstance(fn, RampJax) else value

    def push(fn: Any, noise: Any) -> Any:
        return push_ramp(fn.s, noise) if isinstance(fn, RampJax) else noise

    now = replay_jax(ramps(numpyro, RampJax), arrays({"s": 2.0, "x": 1.0}), {"s": 3.0}, pull, push)[1]
    return found(now["x"]["value"], conforms_by_hand)
