"""The leak of a release under the model itself: tight, and no guarantee.

With a finite model everything is enumerated: ``ε = max log P(release | a, k) / P(release | a', k)`` over secrets
``a, a'``, knowledge ``k`` and outputs, under each draw of the parameters. Beside it stands the *interventional* leak,
the same with ``do(a)`` in place of ``a``: what reaches the release along directed paths alone. An adversary conditions,
so the second is never the measure of privacy; a back-door path leaks with no directed path at all.

>>> import pyro, pyro.distributions as dist, pcm
>>> def backdoor():
...     z = pyro.sample("z", dist.Bernoulli(0.5))
...     pyro.sample("a", dist.Bernoulli(0.05 + 0.9 * z))
...     pyro.sample("u", dist.Bernoulli(0.1 + 0.8 * z))
>>> found = model_leak(pcm.SCM(backdoor)._model, ("a",), (), {"u": ()})
>>> round(float(found.epsilon[0]), 3), float(found.interventional[0])
(1.815, 0.0)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pcm.private.enumeration import Factor, eliminate, factors_of
from pcm.private.kernels import kernel_of
from pcm.private.leakage import leak_between
from pcm.query.model import Model

__all__ = ["ModelLeak", "model_leak"]


@dataclass(frozen=True, eq=False)
class ModelLeak:
    """The smallest ε at δ under each draw of the parameters.

    Attributes
    ----------
    epsilon, interventional : numpy.ndarray (draw,)
    worst : str
        The secrets and the knowledge that are told apart best, under the first draw.
    notes : tuple of str
    """

    epsilon: np.ndarray
    interventional: np.ndarray
    worst: str
    notes: tuple[str, ...]


def model_leak(
    model: Model,
    private: Sequence[str],
    known: Sequence[str],
    releases: Mapping[str, Sequence[Any]],
    *,
    delta: float = 0.0,
    draws: int = 100,
    seed: int | None = None,
) -> ModelLeak:
    """Enumerate the law of a release.

    Parameters
    ----------
    model : Model
    private, known : sequences of names
    releases : dict of name to mechanisms
        An empty sequence is a raw release.
    delta : float
    draws : int
        Of the parameters, at most.

    Raises
    ------
    QueryError
        Variables that are not finite, too many outputs, parameters neither fitted nor given.
    """
    found: list[tuple[float, float]] = []
    worst, notes = "", ()
    laws = factors_of(model, [*private, *known, *releases], draws, seed)
    for draw, (factors, levels) in enumerate(laws):
        outputs, notes = _outputs(releases, levels, delta)
        conditional, where = _leak(list(factors.values()), private, known, outputs, delta)
        cut: list[Factor] = [factor for name, factor in factors.items() if name not in private]
        uniform = [((name,), np.full(len(levels[name]), 1 / len(levels[name]))) for name in private]
        interventional, _ = _leak([*cut, *uniform], private, known, outputs, delta)
        found.append((conditional, interventional))
        if draw == 0 and where is not None:
            worst = _words(where, private, known, levels)
    pairs = np.array(found)
    return ModelLeak(pairs[:, 0], pairs[:, 1], worst, notes)


# -- private ---------------------------------------------------------------------------------------------------------


def _outputs(
    releases: Mapping[str, Sequence[Any]], levels: Mapping[str, tuple[Any, ...]], delta: float
) -> tuple[list[Factor], tuple[str, ...]]:
    found: list[Factor] = []
    notes: dict[str, None] = {}
    for name, mechanisms in releases.items():
        if not mechanisms:
            found.append(((name, ("output", name, 0)), np.eye(len(levels[name]))))
        for at, mechanism in enumerate(mechanisms):
            kernel = kernel_of(mechanism, levels[name], delta, name)
            found.append(((name, ("output", name, at)), kernel.table))
            notes |= dict.fromkeys(kernel.notes)
    return found, tuple(notes)


def _leak(
    factors: list[Factor], private: Sequence[str], known: Sequence[str], outputs: list[Factor], delta: float
) -> tuple[float, tuple[int, int, int] | None]:
    axes = [axes[-1] for axes, _ in outputs]
    known = [name for name in known if name not in private]
    joint = eliminate([*factors, *outputs], (*private, *known, *axes))
    secrets = int(np.prod(joint.shape[: len(private)], dtype=int))
    seen = int(np.prod(joint.shape[len(private) : len(private) + len(known)], dtype=int))
    return leak_between(joint.reshape(secrets, seen, -1), delta)


def _words(
    where: tuple[int, int, int], private: Sequence[str], known: Sequence[str], levels: Mapping[str, tuple[Any, ...]]
) -> str:
    def at(place: int, names: Sequence[str]) -> str:
        cells = np.unravel_index(place, [len(levels[name]) for name in names]) if names else ()
        return ", ".join(f"{name} = {levels[name][cell]}" for name, cell in zip(names, cells, strict=True))

    text = f"{at(where[0], private)} against {at(where[1], private)}"
    return text + (f", where {at(where[2], known)}" if known else "")
