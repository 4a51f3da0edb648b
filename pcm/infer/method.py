"""The methods of inference, and the one shape they all have.

>>> method("laplace").name
'laplace'
>>> method("nuts", chains=2).chains
2
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Protocol, runtime_checkable

from pcm.errors import ArgumentError, UnknownNameError, listed, suggestion
from pcm.infer.laplace import Laplace
from pcm.infer.map import MAP
from pcm.infer.nuts import NUTS
from pcm.infer.posterior import Posterior
from pcm.infer.svi import SVI
from pcm.infer.target import Target

__all__ = ["METHODS", "Method", "method"]


@runtime_checkable
class Method(Protocol):
    """A way from a target to a posterior. Options are fields of the method, set when it is made."""

    @property
    def name(self) -> str:
        """How ``fit(method=…)`` calls it."""
        ...

    def fit(self, target: Target, *, draws: int = 1000, seed: int | None = None, progress: bool = True) -> Posterior:
        """``draws`` draws of the posterior; the same for the same seed.

        ``seed=None`` follows torch's global generator, whose state is otherwise left alone, as is Pyro's parameter
        store.
        """
        ...


PRIVATE = (
    "Differentially private training is a step of its own: private.dp_sgd(net, inputs, targets, ledger, …) trains the "
    "network of one mechanism, which then stands in the program; for linear and logistic mechanisms, fit() the release "
    "of a private.Moments or private.CrossTable."
)
METHODS: dict[str, type] = {cls.name: cls for cls in (Laplace, MAP, NUTS, SVI)}


def method(name: str | Method, **options: Any) -> Method:
    """The method called ``name``, with its options.

    Parameters
    ----------
    name
        ``'laplace'``, ``'map'``, ``'nuts'`` or ``'svi'``; a method made elsewhere is handed back.
    **options
        Fields of the method, e.g. ``chains=2`` for ``'nuts'``.

    Raises
    ------
    UnknownNameError
        If there is no method of that name.
    ArgumentError
        If the method has no such option.
    """
    if not isinstance(name, str):
        if isinstance(name, Method) and not options:
            return name
        raise ArgumentError(
            f"method={name!r} with options {listed(options)}: give a name, or a made method without options."
        )
    if name not in METHODS:
        advice = PRIVATE if re.sub("[^a-z]", "", name.lower()) in ("dpsgd", "private", "dp", "opacus") else ""
        raise UnknownNameError(name, kind="method", known=list(METHODS), where="inference", advice=advice)
    known = [entry.name for entry in dataclasses.fields(METHODS[name])]
    for option in options:
        if option not in known:
            raise ArgumentError(
                f"method='{name}' has no option '{option}'; options: {listed(known)}.{suggestion(option, known)}"
            )
    return METHODS[name](**options)
