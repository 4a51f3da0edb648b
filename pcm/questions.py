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

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pcm.errors import ArgumentError, listed, suggestion
from pcm.private.programs import admit
from pcm.query import causation, effects, nested
from pcm.query.bounds import Bounds
from pcm.query.bounds import bounds as run_bounds
from pcm.query.criticism import Criticism
from pcm.query.criticism import criticise as run_criticism
from pcm.query.effect import Asked, Effect
from pcm.query.model import Model, model_of
from pcm.query.overlap import Overlap
from pcm.query.overlap import overlap as run_overlap
from pcm.query.sensitivity import Sensitivity
from pcm.query.sensitivity import sensitivity as run_sensitivity
from pcm.scm import SCM

__all__ = [
    "ate",
    "att",
    "bounds",
    "cate",
    "cde",
    "criticise",
    "nde",
    "nie",
    "overlap",
    "path_effect",
    "probability_of_necessity",
    "probability_of_necessity_and_sufficiency",
    "probability_of_sufficiency",
    "sensitivity",
]


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
        Fresh units to average over, where there is no ``data`` and the average is not exact: it is where all that the
        outcome rests on is finite and has at most 4,096 joint values.
    draws : int
        Parameter draws of a fitted model.
    seed : int, optional
    latent : list of str, optional
        Variables of the program that nobody observes, beside those without a column in ``data``; the account's
        ``identification`` reads it.
    method : str
        How what ``data`` lacks is inferred, as for :meth:`pcm.SCM.counterfactual`.

    Returns
    -------
    Effect
        One draw a parameter draw; ``.units`` has it unit by unit. ``.account.identification`` says whether the graph
        fixes it and by which formula, ``.account.positivity`` how many units of ``data`` have no comparable ones.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
    >>> round(float(pcm.ate(pcm.SCM(trial), "t", "y", seed=0)), 9)
    2.0
    """
    model, options = _admitted(scm, options)
    return replace(effects.ate(model, treatment, outcome, **options), asked=Asked(model, treatment, outcome, options))


def att(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """Average effect on the treated: over the units whose treatment is ``treated``; parameters as for :func:`ate`.

    Of units of ``data`` the treatment must be known (those of :func:`cate`: what they are grouped by).

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Normal(2.0 * t, 1.0))
    >>> round(float(pcm.att(pcm.SCM(trial), "t", "y", seed=0)), 9)
    2.0
    """
    model, options = _admitted(scm, options)
    return effects.att(model, treatment, outcome, **options)


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
    model, options = _admitted(scm, options)
    return effects.cate(model, treatment, outcome, given=given, **options)


def cde(scm: SCM, treatment: str, outcome: str, *, mediators: Mapping[str, Any], **options: Any) -> Effect:
    """Controlled direct effect ``E[Y(treated, m)] - E[Y(control, m)]``, mediators held at the given values.

    Other parameters as for :func:`ate`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def mediation():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     m = pyro.sample("m", dist.Normal(2.0 * t, 1.0))
    ...     pyro.sample("y", dist.Normal(3.0 * m + t, 1.0))
    >>> round(float(pcm.cde(pcm.SCM(mediation), "t", "y", mediators={"m": 0.0}, seed=0)), 9)
    1.0
    """
    model, options = _admitted(scm, options)
    return nested.cde(model, treatment, outcome, mediators=mediators, **options)


def nde(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural direct effect ``E[Y(treated, M(control))] - E[Y(control)]``.

    Parameters
    ----------
    mediators : list of str, optional
        ``M``; everything between treatment and outcome by default.
    **options
        As for :func:`ate`.

    References
    ----------
    Pearl, "Direct and indirect effects", UAI 2001.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def mediation():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     m = pyro.sample("m", dist.Normal(2.0 * t, 1.0))
    ...     pyro.sample("y", dist.Normal(3.0 * m + t, 1.0))
    >>> round(float(pcm.nde(pcm.SCM(mediation), "t", "y", seed=0)), 9)
    1.0
    """
    model, options = _admitted(scm, options)
    return nested.nde(model, treatment, outcome, **options)


def nie(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """Natural indirect effect ``E[Y(control, M(treated))] - E[Y(control)]``; parameters as for :func:`nde`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def mediation():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     m = pyro.sample("m", dist.Normal(2.0 * t, 1.0))
    ...     pyro.sample("y", dist.Normal(3.0 * m + t, 1.0))
    >>> round(float(pcm.nie(pcm.SCM(mediation), "t", "y", seed=0)), 9)
    6.0
    """
    model, options = _admitted(scm, options)
    return nested.nie(model, treatment, outcome, **options)


def path_effect(scm: SCM, treatment: str, outcome: str, *, paths: Sequence[Any], **options: Any) -> Effect:
    """Effect along some directed paths alone: along all others the treatment keeps its control value.

    Parameters
    ----------
    paths : list of str
        Such as ``["age -> labs -> readmit"]``.
    **options
        As for :func:`ate`.

    Returns
    -------
    Effect
        Its account names a recanting witness where there is one: then no experiment identifies the effect.

    Raises
    ------
    GraphError
        A path that is not in the graph, or paths whose edges make up another path too.

    References
    ----------
    Avin, Shpitser & Pearl, "Identifiability of path-specific effects", IJCAI 2005.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def mediation():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     m = pyro.sample("m", dist.Normal(2.0 * t, 1.0))
    ...     pyro.sample("y", dist.Normal(3.0 * m + t, 1.0))
    >>> round(float(pcm.path_effect(pcm.SCM(mediation), "t", "y", paths=["t -> m -> y"], seed=0)), 9)
    6.0
    """
    model, options = _admitted(scm, options)
    return nested.path_effect(model, treatment, outcome, paths=paths, **options)


def probability_of_necessity(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """``P(Y_control ≠ y | T = treated, Y = y)`` under the model's couplings: was the treatment necessary?

    Parameters
    ----------
    treated, control, value : any
        The two treatments, and the outcome ``y`` (1, 0, 1).
    data : DataFrame or dict, optional
        Units to average over (those with that treatment and outcome); fresh ones by default. ``.units`` has one
        probability for each. What a unit lacks is inferred as for :meth:`pcm.SCM.counterfactual` and averaged over; one
        that lacks its own treatment or outcome is asked *given* that treatment and outcome, and counts in the average
        by how probable they are.
    units, draws, seed, method
        As for :func:`ate`. ``.diagnostics`` says how well each unit's missing values were inferred.

    Raises
    ------
    EvidenceError
        What is conditioned on is open and cannot be supposed: a computed column, or "not 1" of a variable with more
        than two values.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * t))
    >>> data = {"t": [1.0, 0.0], "y": [1.0, 0.0]}
    >>> round(float(pcm.probability_of_necessity(pcm.SCM(trial), "t", "y", data=data)), 6)
    0.714286
    """
    model, options = _admitted(scm, options)
    return causation.probability_of_necessity(model, treatment, outcome, **options)


def probability_of_sufficiency(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """``P(Y_treated = y | T = control, Y ≠ y)``; parameters as for :func:`probability_of_necessity`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * t))
    >>> data = {"t": [1.0, 0.0], "y": [1.0, 0.0]}
    >>> round(float(pcm.probability_of_sufficiency(pcm.SCM(trial), "t", "y", data=data)), 6)
    0.625
    """
    model, options = _admitted(scm, options)
    return causation.probability_of_sufficiency(model, treatment, outcome, **options)


def probability_of_necessity_and_sufficiency(scm: SCM, treatment: str, outcome: str, **options: Any) -> Effect:
    """``P(Y_treated = y, Y_control ≠ y)``; parameters as for :func:`probability_of_necessity`.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def trial():
    ...     t = pyro.sample("t", dist.Bernoulli(0.5))
    ...     pyro.sample("y", dist.Bernoulli(0.2 + 0.5 * t))
    >>> scm = pcm.SCM(trial)
    >>> abs(float(pcm.probability_of_necessity_and_sufficiency(scm, "t", "y", seed=0)) - 0.5) < 0.02
    True
    """
    model, options = _admitted(scm, options)
    return causation.probability_of_necessity_and_sufficiency(model, treatment, outcome, **options)


def bounds(scm_or_table: Any, query: Any, **options: Any) -> Bounds:
    """Bounds on a query over every coupling that fits the graph and the observed law.

    Parameters
    ----------
    scm_or_table : SCM, DataFrame or dict
        A model of finite variables, whose couplings are then forgotten; or a table of probabilities or counts.
    query : Query or str
        ``"PNS(x, y)"`` (also ATE, ATT, NDE, NIE, PN, PS), ``"P(y=1 | do(x=1))"``, or built by :class:`pcm.Query`.
    graph : str or DiGraph, optional
        Of a table: ``"z -> x -> y; x <-> y"``.
    confounded : list of tuple, optional
        Variables that share an unobserved cause.
    latent, monotone, experiments, data
        Unobserved variables, edges without defiers, experimental tables, units to bound one by one.

    Returns
    -------
    Bounds
        ``.low``, ``.high``, ``.sharp``, ``.how``, ``.certificate``.

    Examples
    --------
    >>> import pcm, pyro, pyro.distributions as dist
    >>> def chain():
    ...     a = pyro.sample("A", dist.Bernoulli(0.5))
    ...     m = pyro.sample("M", dist.Bernoulli(0.3 + 0.5 * a))
    ...     pyro.sample("Y", dist.Bernoulli(0.2 + 0.5 * m))
    >>> found = pcm.bounds(pcm.SCM(chain), "PNS(A, Y)")
    >>> round(found.low, 9), round(found.high, 9), found.sharp
    (0.25, 0.53, True)
    """
    source = scm_or_table._model if isinstance(scm_or_table, SCM) else scm_or_table
    return run_bounds(source, query, **_known(run_bounds, options))


def criticise(scm: SCM, data: Any, **options: Any) -> Criticism:
    """Test a model against data: its mechanisms, their noise, and the independencies its graph implies.

    Parameters
    ----------
    scm : SCM
        Fitted, or without free parameters.
    data : DataFrame or dict
        A column a variable. Empty cells, intervals and variables that were never recorded are filled by one draw from
        the model given the rest of the row (said in ``.notes``), which never speaks against it.
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
    return run_criticism(*admit(model_of(scm), data), **_known(run_criticism, options))


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
    model, data = admit(model_of(scm), data)
    return run_overlap(model, treatment, data, **_known(run_overlap, options))


def sensitivity(
    asked: SCM | Effect, treatment: str | None = None, outcome: str | None = None, **options: Any
) -> Sensitivity:
    """How strong an unmeasured confounder would have to be to change an effect.

    Parameters
    ----------
    asked : Effect or SCM
        What :func:`ate` returned, which knows its model, treatment, outcome, arms and data; or a fitted SCM.
    treatment, outcome : str
        With an SCM.
    data : DataFrame or dict
        The units that the effect is an average over; by default those of the effect, or 2,000 sampled ones.
    effect : Effect, optional
        With an SCM: the effect from :func:`ate`; worked out where it is not given.
    treated, control, q, alpha, df, benchmarks, strengths, draws, seed
        Compared values; the part of the effect that must go (all); 1 − probability of the interval; residual degrees
        of freedom; observed causes to compare with; the grid's strengths; parameter draws; seed.

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
    >>> effect = pcm.ate(fitted, "t", "y", data=data, seed=0)
    >>> 0 < pcm.sensitivity(effect).robustness_value < 1
    True
    """
    if isinstance(asked, Effect):
        return _sensitivity_of(asked, treatment, outcome, options)
    model, options = _admitted(asked, options)
    if treatment is None or outcome is None:
        raise ArgumentError(
            "sensitivity of a model needs a treatment and an outcome: pcm.sensitivity(scm, treatment, outcome), or "
            "pcm.sensitivity(effect) of what pcm.ate returned."
        )
    return run_sensitivity(model, treatment, outcome, **_known(run_sensitivity, options))


def _sensitivity_of(effect: Effect, treatment: str | None, outcome: str | None, options: dict[str, Any]) -> Sensitivity:
    if effect.asked is None:
        raise ArgumentError(
            f"sensitivity was given '{effect.label}', which pcm.ate did not return, or which was copied: it does not "
            "know its model. Ask pcm.sensitivity(scm, treatment, outcome, effect=…)."
        )
    asked = effect.asked
    for role, given, own in (("treatment", treatment, asked.treatment), ("outcome", outcome, asked.outcome)):
        if given not in (None, own):
            raise ArgumentError(f"sensitivity was given the {role} '{given}', and {effect.label} has '{own}'.")
    scale = asked.options.get("scale", "difference")
    if scale != "difference":
        raise ArgumentError(f"sensitivity is of a difference of means; {effect.label} has scale={scale!r}.")
    kept = {name: asked.options[name] for name in ("treated", "control", "data", "seed") if name in asked.options}
    for name in ("treated", "control", "effect"):
        if name in options:
            raise ArgumentError(f"sensitivity of an effect takes no {name}=: {effect.label} has its own.")
    options = {**kept, **_known(run_sensitivity, options), "effect": effect}
    model, options["data"] = admit(asked.model, options.get("data"))
    return run_sensitivity(model, asked.treatment, asked.outcome, **options)


def _admitted(scm: Any, options: dict[str, Any]) -> tuple[Model, dict[str, Any]]:
    """The model and options of a question; private releases in ``data=`` stand under noisy children."""
    model = model_of(scm)
    if options.get("data") is not None:
        model, data = admit(model, options["data"])
        options = {**options, "data": data}
    return model, options


def _known(question: Callable[..., Any], options: dict[str, Any]) -> dict[str, Any]:
    """The options, each one that the question has."""
    known = [name for name, each in inspect.signature(question).parameters.items() if each.kind is each.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise ArgumentError(
                f"'{name}' is no option of {question.__name__}; options: {listed(known)}.{suggestion(name, known)}"
            )
    return options
