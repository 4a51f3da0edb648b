"""What many releases cost together: the least of basic composition, Rényi accounting and privacy loss distributions.

All three are upper bounds, so their minimum is one [1]_ [2]_. Losses are composed under the ledger's neighbouring
relation. A promise about adding or removing a person holds for replacing one at twice the distance: noise at half its
scale, ``(ε, δ)`` as ``(2 ε, δ (1 + e^ε))``; that is done before anything is composed, and for sampled mechanisms after
they have been composed among themselves.

References
----------
.. [1] Mironov (2017). Rényi differential privacy. CSF.
.. [2] Koskela, Jälkö, Honkela (2020). Computing tight differential privacy guarantees using FFT. AISTATS.

>>> from pcm.private.events import Promise
>>> two = [Loss(Promise(1.0)), Loss(Promise(0.5), relation="add_remove")]
>>> total_epsilon(two, delta=0.0, relation="replace"), total_epsilon(two[1:], delta=0.0, relation="add_remove")
(2.0, 0.5)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pcm.private.events import Promise, concentrated, doubled, leaves, pure_epsilon
from pcm.private.sampler import accounting

__all__ = ["RELATIONS", "Loss", "by_loss_distributions", "by_renyi", "total_epsilon", "total_rho"]

#: Neighbouring relations: one person's row replaced, or added or removed.
RELATIONS = ("replace", "add_remove")

_STEP = 1e-4
_COARSE = 20.0
_LIMIT = 200.0


@dataclass(frozen=True)
class Loss:
    """One entry of a ledger as a loss.

    Attributes
    ----------
    event : DpEvent or Promise
    relation : str
        Of its promise.
    constants : dict
        The mechanism's own record, where its loss distribution is known beyond the event.
    """

    event: Any
    relation: str = "replace"
    constants: dict[str, Any] = field(default_factory=dict)


def total_epsilon(losses: Sequence[Loss], delta: float, relation: str, enough: float = -math.inf) -> float:
    """Least ε at ``delta`` of all losses together, under ``relation``; any bound below ``enough`` will do."""
    plain, apart = _converted(losses, relation)
    if apart:
        return _with_sampled(plain, apart, delta)
    return _least(plain, delta, enough)


def total_rho(losses: Sequence[Loss], relation: str) -> float:
    """ρ of all losses together; two steps apart cost four times as much."""
    return math.fsum(
        concentrated(loss.event) * (4.0 if loss.relation != relation and relation == "replace" else 1.0)
        for loss in losses
    )


def by_renyi(losses: Sequence[Loss], delta: float) -> float | None:
    """ε at ``delta`` by Rényi accounting; None where a loss has no Rényi curve, or ``delta`` is 0."""
    if not delta > 0:
        return None
    rdp = accounting("rdp.rdp_privacy_accountant")
    relations = accounting("privacy_accountant").NeighboringRelation
    one, other = rdp.RdpAccountant(neighboring_relation=relations.REPLACE_ONE), rdp.RdpAccountant()
    for leaf, _, count in _alike(losses):
        kind, pure = type(leaf).__name__, pure_epsilon(leaf)
        if kind in ("Promise", "DiscreteLaplaceDpEvent"):
            if not math.isfinite(pure):
                return None
            # any ε-private mechanism loses at most what two outcomes at odds e^ε do
            flip = 2.0 / (1.0 + math.exp(min(pure, 700.0)))
            leaf, kind = accounting().RandomizedResponseDpEvent(flip, 2), "RandomizedResponseDpEvent"
        chosen = one if kind in ("RandomizedResponseDpEvent", "SampledWithoutReplacementDpEvent") else other
        if not chosen.supports(leaf):
            return None
        chosen.compose(leaf, count)
    return float(rdp.compute_epsilon(one.orders, one.rdp + other.rdp, delta)[0])


def by_loss_distributions(losses: Sequence[Loss], delta: float) -> float | None:
    """ε at ``delta`` by privacy loss distributions; None where a loss has none here, or ``delta`` is 0."""
    if not delta > 0:
        return None
    total = _composed(losses)
    return None if total is None else float(total.get_epsilon_for_delta(delta))


def _composed(losses: Sequence[Loss]) -> Any | None:
    """The privacy loss distribution of all together."""
    alike = _alike(losses)
    size = math.fsum(_size(leaf) * math.sqrt(count) for leaf, _, count in alike)
    if size > _LIMIT:
        return None  # the grid would not fit; Rényi accounting is as good there
    module = accounting("pld.privacy_loss_distribution")
    step = _STEP if size <= _COARSE else 10.0 * _STEP
    total = module.identity(value_discretization_interval=step)
    for leaf, constants, count in alike:
        found = _distribution(module, leaf, constants, step)
        if found is None:
            return None
        total = total.compose(found if count == 1 else found.self_compose(count))
    return total


def _alike(losses: Sequence[Loss]) -> list[tuple[Any, dict[str, Any], int]]:
    """Single losses with their constants and how often each occurs: equal ones compose with themselves cheaply."""
    found: dict[str, tuple[Any, dict[str, Any], int]] = {}
    for loss in losses:
        for leaf, count in leaves(loss.event):
            key = f"{leaf!r} {loss.constants!r}"
            found[key] = leaf, loss.constants, count + (found[key][2] if key in found else 0)
    return list(found.values())


def _least(losses: Sequence[Loss], delta: float, enough: float = -math.inf) -> float:
    """The least of the bounds, cheapest first; the first one below ``enough``."""
    if any(type(leaf).__name__ == "NonPrivateDpEvent" for loss in losses for leaf, _ in leaves(loss.event)):
        return math.inf
    best = _basic(losses, delta)
    for bound in (by_renyi, by_loss_distributions):
        if best <= enough:
            break
        found = bound(losses, delta)
        best = best if found is None or math.isnan(found) else min(best, found)
    return best


def _basic(losses: Sequence[Loss], delta: float) -> float:
    """Sums of ε; with promises' own δ where they fit into ``delta``."""
    spare = math.fsum(leaf.delta * count for loss in losses for leaf, count in leaves(loss.event) if _partial(leaf))
    if spare > delta:
        return math.inf
    return math.fsum(_approximate(leaf) * count for loss in losses for leaf, count in leaves(loss.event))


def _partial(leaf: Any) -> bool:
    return isinstance(leaf, Promise) and leaf.delta > 0


def _approximate(leaf: Any) -> float:
    return leaf.epsilon if _partial(leaf) else pure_epsilon(leaf)


def _converted(losses: Sequence[Loss], relation: str) -> tuple[list[Loss], list[Loss]]:
    """Losses under the ledger's relation, and those add/remove ones that must be composed before they are doubled."""
    plain, apart = [], []
    for loss in losses:
        if loss.relation == relation:
            plain.append(loss)
            continue
        twice = [(doubled(leaf), count) for leaf, count in leaves(loss.event)]
        if any(leaf is None for leaf, _ in twice):
            apart.append(loss)
            continue
        constants = dict(loss.constants)
        if "bounds" in constants:
            low, high = constants["bounds"]
            constants["bounds"] = (low, high + (high - low))
        module = accounting()
        for leaf, count in twice:
            event = leaf if count == 1 or isinstance(leaf, Promise) else module.SelfComposedDpEvent(leaf, count)
            plain += [Loss(event, relation, constants)] * (count if isinstance(leaf, Promise) else 1)
    return plain, apart


def _with_sampled(plain: list[Loss], apart: list[Loss], delta: float) -> float:
    """Sampled add/remove losses become one promise ``(2 ε, δ (1 + e^ε))`` with a share of ``delta``."""
    best = math.inf
    if not delta > 0:
        return best
    for share in (1.0,) if not plain else (0.1, 0.5, 0.9):
        promise = _promise(apart, share * delta)
        if not math.isfinite(promise.epsilon):
            continue
        if not plain:
            return promise.epsilon
        best = min(best, promise.epsilon + _least(plain, (1.0 - share) * delta))
        joint = by_loss_distributions([*plain, Loss(promise)], delta)
        best = best if joint is None else min(best, joint)
    return best


def _promise(apart: list[Loss], delta: float) -> Promise:
    """Twice the ε at the largest own δ whose doubled one is still within ``delta``."""
    composed = _composed(apart)

    def at(log_delta: float) -> float:
        own = math.exp(log_delta)
        epsilon = by_renyi(apart, own) if composed is None else float(composed.get_epsilon_for_delta(own))
        return math.inf if epsilon is None else epsilon

    def affordable(log_delta: float) -> bool:
        epsilon = at(log_delta)
        return math.isfinite(epsilon) and log_delta + math.log1p(math.exp(min(epsilon, 700.0))) <= math.log(delta)

    high = math.log(delta)
    low = next((high - step for step in range(1, 100) if affordable(high - step)), None)
    if low is None:
        return Promise(math.inf, delta)
    high = low + 1.0
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if affordable(middle) else (low, middle)
    return Promise(2.0 * at(low), delta)


def _size(leaf: Any) -> float:
    """About how far the loss reaches, to choose a grid."""
    pure = pure_epsilon(leaf) if not _partial(leaf) else leaf.epsilon
    if math.isfinite(pure):
        return pure
    kind = type(leaf).__name__
    inner = leaf.event if kind == "PoissonSampledDpEvent" else leaf
    multiplier = getattr(inner, "noise_multiplier", None)
    if kind == "ZCDpEvent" and leaf.rho > 0:
        multiplier = 1.0 / math.sqrt(2.0 * leaf.rho)
    scale = leaf.sampling_probability if kind == "PoissonSampledDpEvent" else 1.0
    return scale * (0.5 / multiplier**2 + 5.0 / multiplier) if multiplier else math.inf


def _distribution(module: Any, leaf: Any, constants: dict[str, Any], step: float) -> Any | None:
    grid = {"value_discretization_interval": step}
    kind = type(leaf).__name__
    if kind == "Promise":
        frame = accounting("pld.common").DifferentialPrivacyParameters(leaf.epsilon, leaf.delta)
        return module.from_privacy_parameters(frame, **grid)
    if kind == "GaussianDpEvent":
        return module.from_gaussian_mechanism(leaf.noise_multiplier, **grid)
    if kind == "LaplaceDpEvent":
        return module.from_laplace_mechanism(leaf.noise_multiplier, **grid)
    if kind == "DiscreteLaplaceDpEvent":
        return module.from_discrete_laplace_mechanism(leaf.noise_parameter, sensitivity=leaf.sensitivity, **grid)
    if kind == "RandomizedResponseDpEvent":
        relation = accounting("privacy_accountant").NeighboringRelation.REPLACE_ONE
        return module.from_randomized_response(
            leaf.noise_parameter, leaf.num_buckets, neighboring_relation=relation, **grid
        )
    if kind == "PoissonSampledDpEvent" and type(leaf.event).__name__ == "GaussianDpEvent":
        return module.from_gaussian_mechanism(
            leaf.event.noise_multiplier, sampling_prob=leaf.sampling_probability, **grid
        )
    if kind == "PoissonSampledDpEvent" and type(leaf.event).__name__ == "LaplaceDpEvent":
        return module.from_laplace_mechanism(
            leaf.event.noise_multiplier, sampling_prob=leaf.sampling_probability, **grid
        )
    if kind == "ZCDpEvent" and constants.get("mechanism") == "DiscreteGaussian":
        low, high = constants["bounds"]
        return module.from_discrete_gaussian_mechanism(constants["scale"], sensitivity=int(high - low), **grid)
    return None
