"""Questions to a structural causal model: average effects, criticism, overlap, sensitivity.

Each takes an :class:`pcm.SCM` and returns a result that says what it rests on.

>>> import pyro, pyro.distributions as dist, pcm
>>> def trial():
...     t = pyro.sample("t", dist.Bernoulli(0.5))
...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
>>> round(float(ate(pcm.SCM(trial), "t", "y", seed=0)), 9)
2.0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pcm.errors import ArgumentError
from pcm.query import effects
from pcm.query.criticism import Criticism
from pcm.query.criticism import criticise as run_criticism
from pcm.query.effect import Effect
from pcm.query.model import Model
from pcm.query.overlap import Overlap
from pcm.query.overlap import overlap as run_overlap
from pcm.query.sensitivity import Sensitivity
from pcm.query.sensitivity import sensitivity as run_sensitivity
from pcm.scm import SCM

__all__ = ["ate", "att", "cate", "criticise", "overlap", "sensitivity"]


def ate(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """Average treatment effect ``E[Y_treated] - E[Y_control]``.

    Parameters
    ----------
    scm : SCM
    treatment, outcome : str
    treated, control : any
        What the two arms set the treatment to (1 and 0); anything that ``do`` takes.
    data : DataFrame or dict, optional
        Average over these units' own noise instead of fresh units; a frame of covariates alone gives fresh units at
        those covariates.
    scale : {"difference", "ratio", "odds"}
    units : int
        Fresh units to average over, where there is no ``data``.
    draws : int
        Parameter draws of a fitted model.
    seed : int, optional

    Returns
    -------
    Effect
        One draw a parameter draw.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
    >>> round(float(pcm.ate(pcm.SCM(trial), "t", "y", seed=0)), 9)
    2.0
    """
    return effects.ate(_model(scm), treatment, outcome, **options)


def att(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """Average effect on the treated: over the units whose treatment is ``treated``; parameters as for :func:`ate`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
    >>> round(float(pcm.att(pcm.SCM(trial), "t", "y", seed=0)), 9)
    2.0
    """
    return effects.att(_model(scm), treatment, outcome, **options)


def cate(scm: SCM, treatment: str, outcome: str, *, given: Sequence[str], **options: Any) -> Effect:
    """Average effect within groups of units: an :class:`Effect` with draws ``(draw, group)``.

    ``given`` names the grouping variables; numeric ones with more than 20 values are cut into ``bins=5`` quantile
    bins. Other parameters as for :func:`ate`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     z = pyro.sample("z", dist.Bernoulli(0.5))
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(t * (1.0 + z), 1.0))
    >>> pcm.cate(pcm.SCM(trial), "t", "y", given=["z"], seed=0).mean.round(9).tolist()
    [1.0, 2.0]
    """
    return effects.cate(_model(scm), treatment, outcome, given=given, **options)


def criticise(scm: SCM, data: Any, **options: Any) -> Criticism:
    """Test a model against data: its mechanisms, their noise, and the independencies its graph implies.

    Parameters
    ----------
    scm : SCM
        Fitted, or without free parameters.
    data : DataFrame or dict
        A column a variable.
    draws : int
        Draws of the parameters and of replicated data.
    seed : int, optional
    level : float
        Chance of any false alarm, over all checks (Holm).
    rows : int
        Units above which a random subset is looked at.

    Returns
    -------
    Criticism
        ``.passed``, ``.verdict`` in words, ``.to_dataframe()``, ``.plot()``.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def pair():
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     pyro.sample("y", dist.Normal(2.0 * x, 1.0))
    >>> scm = pcm.SCM(pair)
    >>> pcm.criticise(scm, scm.sample(300, seed=0), seed=0).passed
    True
    """
    return run_criticism(_model(scm), data, **options)


def overlap(scm: SCM, treatment: str, data: Any, **options: Any) -> Overlap:
    """Positivity: which units could hardly have had the other treatment, and how much of an effect rests on them.

    Parameters
    ----------
    scm : SCM
    treatment : str
    data : DataFrame or dict
    outcome : str, optional
        Then the share of the average effect that rests on the flagged units is worked out too.
    threshold : float
        Units whose probability of a treatment is below it are flagged (.05).

    Returns
    -------
    Overlap

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     t = pyro.sample("t", dist.Bernoulli(logits=2 * x))
    ...     pyro.sample("y", dist.Normal(t + x, 1.0))
    >>> scm = pcm.SCM(trial)
    >>> len(pcm.overlap(scm, "t", {"x": [0.0, 3.0], "t": [0.0, 1.0]}).flagged)
    1
    """
    return run_overlap(_model(scm), treatment, data, **options)


def sensitivity(scm: SCM, treatment: str, outcome: str, **options: Any) -> Sensitivity:
    """How strong an unmeasured confounder would have to be to change an effect.

    Parameters
    ----------
    scm : SCM
        Fitted.
    treatment, outcome : str
    data : DataFrame or dict
        The units that the effect is an average over.
    effect : Effect, optional
        From :func:`ate`; worked out where it is not given.

    Returns
    -------
    Sensitivity
        ``.robustness_value`` (Cinelli & Hazlett 2020), ``.grid``, ``.benchmarks``, ``.plot()``.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def study(n):
    ...     slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("units", n):
    ...         t = pyro.sample("t", dist.Bernoulli(0.5))
    ...         pyro.sample("y", dist.Normal(slope * t, 1.0))
    >>> data = pcm.SCM(study).given(slope=1.0).sample(200, seed=0)
    >>> fitted = pcm.SCM(study).fit(data, seed=0, progress=False)
    >>> 0 < pcm.sensitivity(fitted, "t", "y", data=data, seed=0).robustness_value < 1
    True
    """
    return run_sensitivity(_model(scm), treatment, outcome, **options)


def _model(scm: Any) -> Model:
    if not isinstance(scm, SCM):
        raise ArgumentError(f"a pcm.SCM is needed; found {type(scm).__name__}. Wrap the program: pcm.SCM(program).")
    return scm._model
