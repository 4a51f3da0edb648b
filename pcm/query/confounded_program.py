"""A latent confounder of two strengths, added to a program.

>>> import pcm
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
>>> confounded = with_confounder(trial, "t", "y", treatment_strength=1.0, outcome_strength=0.5)
>>> sorted(pcm.SCM(confounded).graph.edges)
[('confounder', 't'), ('confounder', 'y'), ('t', 'y')]
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.poutine.messenger import Messenger
from torch import nn
from torch.distributions import constraints

from pcm.couplings import unwrap
from pcm.errors import ArgumentError, QueryError

__all__ = ["link_of", "shift_of", "with_confounder"]


def shift_of(fn: Any, name: str) -> str:
    """How a confounder can move a treatment's distribution: ``"logit"`` or ``"mean"``.

    Raises
    ------
    QueryError
        Neither: it is no Bernoulli and no Normal.
    """
    bare = unwrap(fn)[0]
    if isinstance(bare, torch.distributions.Bernoulli):
        return "logit"
    if isinstance(bare, torch.distributions.Normal):
        return "mean"
    raise QueryError(
        f"treatment '{name}' is {type(bare).__name__}; a confounder's strength is defined for a Bernoulli treatment "
        "(on its logit) and a Normal one (on its mean). robustness_value(estimate, se, df) needs no mechanism."
    )


def link_of(fn: Any, name: str) -> str:
    """On which scale a confounder moves an outcome's mean: ``"identity"``, ``"logit"`` or ``"log"``.

    Raises
    ------
    QueryError
        The outcome has no such scale (categories, bounded intervals).
    """
    bare = unwrap(fn)[0]
    if isinstance(bare, torch.distributions.Bernoulli):
        return "logit"
    support: Any = bare.support
    if support is constraints.real:
        return "identity"
    if getattr(support, "lower_bound", None) == 0 and not hasattr(support, "upper_bound"):
        return "log"
    raise QueryError(
        f"outcome '{name}' is {type(bare).__name__} on {support}; a confounder's strength is defined on a real mean, "
        "the logit of a probability or the log of a positive mean."
    )


def with_confounder(
    program: Callable[..., Any],
    treatment: str,
    outcome: str,
    *,
    treatment_strength: float,
    outcome_strength: float,
    name: str = "confounder",
) -> Callable[..., Any]:
    """The program with a standard normal latent site that moves treatment and outcome.

    Everything else of the two mechanisms stays as it is: the new program's observed law is another one. To sample from,
    or to fit with given strengths.

    Parameters
    ----------
    program : callable
        As :class:`pcm.SCM` takes it.
    treatment_strength, outcome_strength : float
        What one standard deviation of the confounder adds to the logit of a Bernoulli, the log of a positive mean, or
        the mean of anything else.
    name : str
        Of the new site.

    Examples
    --------
    >>> import pcm
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
    >>> pcm.SCM(with_confounder(trial, "t", "y", treatment_strength=1.0, outcome_strength=0.5)).graph
    CausalGraph(3 variables: confounder → t → y)
    """
    strengths = {treatment: float(treatment_strength), outcome: float(outcome_strength)}
    if len(strengths) < 2 or name in strengths:
        raise ArgumentError(f"treatment, outcome and confounder are three names; found {treatment}, {outcome}, {name}.")

    def confounded(*args: Any, **kwargs: Any) -> Any:
        with _Shift(strengths, name):
            return program(*args, **kwargs)

    target = program.forward if isinstance(program, nn.Module) else program
    signed: Any = confounded
    signed.__signature__ = inspect.signature(target)
    signed.__name__ = f"{getattr(program, '__name__', type(program).__name__)}_confounded"
    # read as the user's own code, so that networks in it are found
    signed.__module__ = getattr(program, "__module__", confounded.__module__)
    return confounded


class _Shift(Messenger):
    """Samples the confounder where it is first needed and moves two sites' distributions by it."""

    def __init__(self, strengths: dict[str, float], name: str) -> None:
        super().__init__()
        self.strengths, self.name, self.value = strengths, name, None

    def _pyro_sample(self, msg: Any) -> None:
        strength = self.strengths.get(msg["name"])
        if strength is None:
            return
        if self.value is None:
            self.value = pyro.sample(self.name, dist.Normal(0.0, 1.0))
        msg["fn"] = _moved(msg["fn"], strength * self.value, msg["name"])


def _moved(fn: Any, shift: Any, name: str) -> Any:
    bare = unwrap(fn)[0]
    if isinstance(bare, torch.distributions.Bernoulli):
        return dist.Bernoulli(logits=bare.logits + shift)
    if isinstance(bare, torch.distributions.Normal):
        return dist.Normal(bare.loc + shift, bare.scale)
    link = link_of(bare, name)
    if isinstance(bare, torch.distributions.Poisson):
        return dist.Poisson(bare.rate * shift.exp())
    if link == "log" and getattr(bare.support, "is_discrete", False):
        raise QueryError(f"'{name}' is {type(bare).__name__}; of counts, a confounder can move a Poisson.")
    transform = (
        dist.transforms.AffineTransform(shift, 1.0)
        if link == "identity"
        else dist.transforms.AffineTransform(0.0, shift.exp())
    )
    return dist.TransformedDistribution(bare, [transform])
