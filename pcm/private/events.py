"""dp-accounting's events as text and back, and what they cost without an accountant: pure ε and zero-concentrated ρ.

A ledger keeps events as JSON. An ``(ε, δ)`` promise of some other tool is no event of dp-accounting; it is kept beside
them under the name ``Promise``.

>>> from pcm.private.sampler import accounting
>>> event = accounting().SelfComposedDpEvent(accounting().LaplaceDpEvent(2.0), 3)
>>> decode(encode(event)) == event, pure_epsilon(event)
(True, 1.5)
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from pcm.errors import ArgumentError
from pcm.private.sampler import accounting

__all__ = ["RELATION_OF", "Promise", "concentrated", "decode", "doubled", "encode", "leaves", "pure_epsilon"]

_KNOWN = frozenset(
    {
        "ComposedDpEvent",
        "DiscreteLaplaceDpEvent",
        "GaussianDpEvent",
        "LaplaceDpEvent",
        "NoOpDpEvent",
        "NonPrivateDpEvent",
        "PoissonSampledDpEvent",
        "RandomizedResponseDpEvent",
        "SampledWithoutReplacementDpEvent",
        "SelfComposedDpEvent",
        "ZCDpEvent",
    }
)


RELATION_OF = {"PoissonSampledDpEvent": "add_remove", "SampledWithoutReplacementDpEvent": "replace"}
"""The neighbouring relation under which an accountant knows what sampling adds, where it knows one only."""


@dataclass(frozen=True)
class Promise:
    """An ``(ε, δ)`` guarantee of which no more is known."""

    epsilon: float
    delta: float = 0.0


def encode(event: Any) -> str:
    """An event as JSON.

    Raises
    ------
    ArgumentError
        An event that a ledger cannot account for.
    """
    return json.dumps(_plain(event), sort_keys=True)


def decode(text: str) -> Any:
    """An event from JSON; the inverse of :func:`encode`."""
    return _event(json.loads(text))


def leaves(event: Any, count: int = 1) -> list[tuple[Any, int]]:
    """The single losses of an event, each with how often it was incurred."""
    kind = type(event).__name__
    if kind == "NoOpDpEvent":
        return []
    if kind == "SelfComposedDpEvent":
        return leaves(event.event, count * event.count)
    if kind == "ComposedDpEvent":
        return [leaf for each in event.events for leaf in leaves(each, count)]
    return [(event, count)]


def pure_epsilon(event: Any) -> float:
    """ε by basic composition; infinite where a part has no pure guarantee."""
    return math.fsum(count * _pure(leaf) for leaf, count in leaves(event))


def concentrated(event: Any) -> float:
    """ρ by composition; infinite where a part has no zero-concentrated guarantee."""
    total = 0.0
    for leaf, count in leaves(event):
        kind = type(leaf).__name__
        if kind == "GaussianDpEvent":
            rho = 0.5 / leaf.noise_multiplier**2 if leaf.noise_multiplier > 0 else math.inf
        elif kind == "ZCDpEvent" and leaf.xi == 0:
            rho = leaf.rho
        else:
            rho = 0.5 * _pure(leaf) ** 2
        total += count * rho
    return total


def doubled(leaf: Any) -> Any | None:
    """A loss for neighbours two steps apart: add/remove promises as replace-one ones; None where that has no event."""
    module, kind = accounting(), type(leaf).__name__
    if kind == "LaplaceDpEvent":
        return module.LaplaceDpEvent(0.5 * leaf.noise_multiplier)
    if kind == "GaussianDpEvent":
        return module.GaussianDpEvent(0.5 * leaf.noise_multiplier)
    if kind == "DiscreteLaplaceDpEvent":
        return module.DiscreteLaplaceDpEvent(leaf.noise_parameter, 2 * leaf.sensitivity)
    if kind == "ZCDpEvent" and leaf.xi == 0:
        return module.ZCDpEvent(4.0 * leaf.rho)
    if kind == "Promise":
        return Promise(2.0 * leaf.epsilon, leaf.delta * (1.0 + math.exp(min(leaf.epsilon, 700.0))))
    if kind == "RandomizedResponseDpEvent":
        return Promise(2.0 * _pure(leaf))
    return leaf if kind == "NonPrivateDpEvent" else None


def _pure(leaf: Any) -> float:
    kind = type(leaf).__name__
    if kind == "Promise":
        return leaf.epsilon if leaf.delta == 0 else math.inf
    if kind == "LaplaceDpEvent":
        return 1.0 / leaf.noise_multiplier if leaf.noise_multiplier > 0 else math.inf
    if kind == "DiscreteLaplaceDpEvent":
        return leaf.noise_parameter * leaf.sensitivity
    if kind == "RandomizedResponseDpEvent":
        if leaf.num_buckets == 1:
            return 0.0
        other = leaf.noise_parameter / leaf.num_buckets
        return math.log1p((1.0 - leaf.noise_parameter) / other) if other > 0 else math.inf
    if kind == "PoissonSampledDpEvent":
        inner = math.fsum(count * _pure(each) for each, count in leaves(leaf.event))
        return math.log1p(leaf.sampling_probability * math.expm1(inner)) if inner < 700 else inner
    return math.inf


def _plain(event: Any) -> Any:
    if isinstance(event, Promise):
        return {"type": "Promise", "epsilon": event.epsilon, "delta": event.delta}
    kind = type(event).__name__
    if kind not in _KNOWN or not isinstance(event, accounting().DpEvent):
        raise ArgumentError(
            f"the ledger cannot account for {event!r}; it knows dp-accounting's {', '.join(sorted(_KNOWN))}, and "
            "promises: epsilon=…, delta=…."
        )
    made: dict[str, Any] = {"type": kind}
    for each in event.__attrs_attrs__:
        value = getattr(event, each.name)
        if isinstance(value, list | tuple):
            made[each.name] = [_plain(part) for part in value]
        else:
            made[each.name] = _plain(value) if isinstance(value, accounting().DpEvent) else value
    return made


def _event(made: dict[str, Any]) -> Any:
    fields = dict(made)
    kind = fields.pop("type")
    if kind == "Promise":
        return Promise(**fields)
    if kind not in _KNOWN:
        raise ValueError(f"unknown event {kind}")
    for key, value in fields.items():
        if isinstance(value, dict):
            fields[key] = _event(value)
        elif isinstance(value, list):
            fields[key] = [_event(part) for part in value]
    return getattr(accounting(), kind)(**fields)
