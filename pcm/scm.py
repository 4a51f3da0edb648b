"""`SCM`: a Pyro program as a structural causal model. The public face over program, worlds, inference and queries.

>>> import pyro, pyro.distributions as dist
>>> def clinic():
...     age = pyro.sample("age", dist.Normal(0.0, 1.0))
...     labs = pyro.sample("labs", dist.Normal(0.8 * age, 0.5))
...     pyro.sample("readmit", dist.Bernoulli(logits=1.2 * labs))
>>> scm = SCM(clinic)
>>> scm
SCM(clinic: age → labs → readmit)
>>> cf = scm.counterfactual({"age": [0.0], "labs": [0.5], "readmit": [1.0]}, do={"labs": 0.0})
>>> cf.probability("readmit", 1).round(4).tolist()
[0.7744]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from pcm.arguments import check_count
from pcm.errors import ArgumentError, listed
from pcm.graph import CausalGraph
from pcm.infer import Method, Posterior
from pcm.infer import method as method_named
from pcm.private.aggregate_fit import aggregates_of, target_of_aggregates
from pcm.private.programs import admit
from pcm.program import Program
from pcm.query.counterfactual import Counterfactual, counterfactual
from pcm.query.likelihood import log_prob, target_of, told
from pcm.query.model import HasModel, Model, check_categories, read_categories
from pcm.query.sampling import sample
from pcm.query.saved import load_model, save_model
from pcm.worlds.plan import intervened_graph

__all__ = ["SCM", "load"]


class SCM(HasModel):
    """A structural causal model written as a Pyro program.

    Every ``pyro.sample`` statement is a mechanism ``x = f(parents, u_x)`` with independent noise. The program is
    elementwise over units; without arguments it runs inside a plate named ``units``, or it takes their number and
    opens that plate itself, sites outside it being shared parameters. Keyword-only arguments are covariates.

    Parameters
    ----------
    program : callable
        ``program()``, ``program(n)`` or ``program(n, *, covariate, …)``; a function or a ``PyroModule``.
    dtype : torch.dtype
        Default dtype it runs under; float64 unless there is a reason.
    couplings : mapping of variable to coupling name, optional
        Structural equations other than the default, e.g. ``{"plan": "monotone"}``.
    categories : mapping of variable to labels, optional
        Labels of a variable's codes; frames, ``do`` and results then speak labels.

    Raises
    ------
    ProgramError
        The program cannot be read as an SCM; the message names the site.
    UnitMixingError
        A unit's mechanism reads another unit, or Python control flow reads a unit's value.
    CouplingError
        A distribution has no structural equation.

    References
    ----------
    Pearl, *Causality* (2009), chapter 7. Bareinboim, Correa, Ibeling & Icard, "On Pearl's hierarchy" (2022).

    Examples
    --------
    >>> import pyro, pyro.distributions as dist
    >>> def encouragement():
    ...     x = pyro.sample("X", dist.Normal(0.0, 1.0))
    ...     h = pyro.sample("H", dist.Normal(0.5 * x, 1.0))
    ...     pyro.sample("Y", dist.Normal(0.7 * x + 0.4 * h, 1.0))
    >>> SCM(encouragement).counterfactual({"X": 0.5, "H": 1.0, "Y": 1.5}, do={"H": 2.0}).mean("Y").round(9).tolist()
    [1.9]
    """

    def __init__(
        self,
        program: Callable[..., Any],
        *,
        dtype: torch.dtype = torch.float64,
        couplings: Mapping[str, str] | None = None,
        categories: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        labels = read_categories(categories)
        if couplings is not None and not isinstance(couplings, Mapping):
            raise ArgumentError(f"couplings= is a dict of variable to coupling name; found {couplings!r}.")
        made = Program(program, dtype=dtype, couplings=couplings, categories=labels)
        self._model = Model(made, categories=check_categories(labels, made))

    @classmethod
    def _of(cls, model: Model) -> SCM:
        made = cls.__new__(cls)
        made._model = model
        return made

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def graph(self) -> CausalGraph:
        """The causal graph under the interventions in force; draws itself in a notebook."""
        return intervened_graph(self._model.structure, self._model.interventions)

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables (covariates and deterministic ones too), in program order."""
        return self._model.structure.variables

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the shared parameters, in program order."""
        return self._model.program.parameters

    @property
    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates, which have no distribution."""
        return self._model.structure.covariates

    @property
    def posterior(self) -> Posterior | None:
        """Draws of the parameters from :meth:`fit`; None before."""
        return self._model.posterior

    @property
    def program(self) -> Callable[..., Any]:
        """The user's program."""
        return self._model.program.source

    # -- changing it -------------------------------------------------------------------------------------------------

    def do(self, interventions: Mapping[Any, Any] | None = None, /, **named: Any) -> SCM:
        """A new model under interventions.

        Values are constants, tensors ``(unit, *event)``, functions whose argument names say which variables they
        read (the target's own name is the value it would have had), or distributions. Keys are variables, or edges
        ``(parent, child)``: then only that child sees the value. The last intervention on a target wins.

        Raises
        ------
        UnknownNameError, InterventionError
            A name that is no variable, an edge that is not in the graph, a value that does not fit.

        Examples
        --------
        >>> import pyro, pyro.distributions as dist
        >>> def chain():
        ...     a = pyro.sample("a", dist.Normal(0.0, 1.0))
        ...     pyro.sample("b", dist.Normal(a, 1.0))
        >>> shifted = SCM(chain).do(a=lambda a: a + 10)
        >>> bool((shifted.sample(50, seed=1)["b"] > 3).all())
        True
        """
        given = {**(interventions or {}), **named} if isinstance(interventions, Mapping | None) else interventions
        return SCM._of(self._model.do(given))

    def given(self, values: Mapping[str, Any] | None = None, /, **named: Any) -> SCM:
        """A new model with parameters fixed.

        Raises
        ------
        UnknownNameError, ArgumentError
            A name that is no parameter, a value of another shape or outside the support.
        """
        if values is not None and not isinstance(values, Mapping):
            raise ArgumentError(f"given() takes parameter=value, or a dict of them; found {values!r}.")
        return SCM._of(self._model.fix({**(values or {}), **named}))

    def fit(
        self,
        data: Any,
        method: str | Method = "laplace",
        *,
        draws: int = 1000,
        seed: int | None = None,
        progress: bool = True,
        **options: Any,
    ) -> SCM:
        """A new model with the posterior of its parameters given data.

        Parameters
        ----------
        data : DataFrame, dict or Arrow table
            A column a variable, by name. A private :class:`~pcm.private.Release` under a variable's name is evidence
            of a noisy child, which the new model has. Or noisy sums alone: a private
            :class:`~pcm.private.Aggregate`, or a list of them over one table.
        method : {"laplace", "nuts", "svi", "map"}
            ``laplace`` and ``nuts`` treat sampled parameters; ``map`` and ``svi`` also ``pyro.param`` and the weights
            of PyroModules.
        draws : int
            Posterior draws to keep.
        seed : int, optional
        progress : bool
            Show a progress bar (on a terminal).
        **options
            Of the method.

        Warns
        -----
        FitWarning
            Where the diagnostics say not to trust the result, in words.
        """
        chosen = method_named(method, **options)
        check_count(draws, "draws")
        aggregates = aggregates_of(data)
        model, data = (self._model, data) if aggregates else admit(self._model, data)
        made = Model(model.program.copy(), model.interventions, None, model.given, model.categories)
        marginal, words = None, None
        with torch.inference_mode(False), torch.enable_grad():
            if aggregates:
                target, words = target_of_aggregates(made, aggregates)
            else:
                target, marginal = target_of(made, data)
            posterior = chosen.fit(target, draws=draws, seed=seed, progress=progress)
        if marginal is not None:
            posterior = told(posterior, marginal, made)
        if words is not None:
            posterior = replace(posterior, diagnostics={**posterior.diagnostics, "aggregates": words})
        for leaf in made.program.trainable.values():
            leaf.requires_grad_(False)
        return SCM._of(Model(made.program, made.interventions, posterior, made.given, made.categories))

    # -- asking it ---------------------------------------------------------------------------------------------------

    def sample(self, n: int | None = None, *, data: Any = None, seed: int | None = None) -> pd.DataFrame:
        """Fresh units, a row each, under one draw of the parameters.

        Parameters
        ----------
        n : int
            How many; with ``data`` (the covariates) as many as it has rows.
        seed : int, optional
            The same seed gives the same noise whatever ``n``.
        """
        return sample(self._model, None if n is None else check_count(n, "n"), data, seed)

    def log_prob(self, data: Any, *, draws: int = 256, seed: int | None = None) -> np.ndarray:
        """Log density of each unit, ``[unit]``; ``[draw, unit]`` under the parameter draws of a fit."""
        return log_prob(*admit(self._model, data), draws=draws, seed=seed)

    def counterfactual(
        self,
        data: Any,
        *,
        do: Mapping[Any, Any] | None = None,
        worlds: Mapping[str, Mapping[Any, Any]] | None = None,
        outcome: str | Sequence[str] | None = None,
        memory_limit: int | str | None = None,
        draws: int = 256,
        seed: int | None = None,
        method: str = "auto",
    ) -> Counterfactual:
        """What these units would have been under other circumstances.

        Parameters
        ----------
        data : DataFrame, dict or Arrow table
            The units as observed, a column a variable. The frame's index names them. Columns and cells (NaN) may be
            missing, and some values of a vector too; a cell may be a :class:`pcm.Interval`.
        do : mapping, optional
            One world's interventions; it is named ``"do"``.
        worlds : mapping of name to interventions, optional
            Several worlds, as many as a thousand. The factual one is always there.
        outcome : str or list of str, optional
            The variables that will be asked for; of many worlds nothing else is then kept.
        memory_limit : int or str, optional
            Bytes, or a text such as ``"2GB"``, that the asked variables in all worlds and intermediate results may
            take: what does not fit is computed again, or in blocks of units. An error where the result alone does not.
        draws : int
            Of parameters (where fitted) and of noise that the evidence leaves open.
        seed : int, optional
        method : {"auto", "enumerate", "gaussian", "quadrature", "laplace", "importance"}
            How what is missing is inferred. ``auto`` takes the first of them that is right, unit by unit; of the others
            each is refused where it is not. ``laplace`` alone is an approximation, and not weighted.

        Returns
        -------
        Counterfactual

        Raises
        ------
        EvidenceError, DataError, SupportError
            Missing columns, empty cells, values that a variable cannot take.
        InterventionError, UnknownNameError, ArgumentError
            Worlds that cannot be.
        """
        return counterfactual(
            *admit(self._model, data),
            do=do,
            worlds=worlds,
            outcome=outcome,
            memory_limit=memory_limit,
            draws=draws,
            seed=seed,
            method=method,
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write posterior, fixed parameters, weights and labels to one file (safetensors and JSON, never pickle).

        The file is written whole or not at all; :func:`pcm.load` reads it back, given the program.
        """
        save_model(self._model, _path(path, "save"))

    def __repr__(self) -> str:
        model = self._model
        parts = [model.program.name]
        if model.interventions:
            names = [n if isinstance(n, str) else f"{n[0]} → {n[1]}" for n in model.interventions]
            parts.append(f"do({listed(names)})")
        if model.program.parameters:
            parts.append(f"{len(model.program.parameters)} parameters" + (", fitted" if model.posterior else ""))
        graph = repr(self.graph)
        inside = graph[graph.index(": ") + 2 : -1] if ": " in graph else ""
        return f"SCM({', '.join(parts)}: {inside})"

    def _repr_html_(self) -> str:
        import html

        return f"<div><code>{html.escape(repr(self))}</code></div>{self.graph._repr_svg_()}"


def load(path: str | os.PathLike[str], program: Callable[..., Any]) -> SCM:
    """A model saved by :meth:`SCM.save`, over the program it was made of.

    Raises
    ------
    StoreError
        No file, not a pcm file, damaged, or saved from another program; the message says which.

    Examples
    --------
    >>> import tempfile, pcm, pyro, pyro.distributions as dist
    >>> def coin(n):
    ...     p = pyro.sample("p", dist.Beta(1.0, 1.0))
    ...     with pyro.plate("units", n):
    ...         pyro.sample("x", dist.Bernoulli(p))
    >>> fitted = pcm.SCM(coin).fit({"x": [1, 1, 0, 1]}, seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     fitted.save(f"{folder}/coin.pcm")
    ...     again = pcm.load(f"{folder}/coin.pcm", program=coin)
    >>> bool((again.posterior["p"] == fitted.posterior["p"]).all())
    True
    """
    return SCM._of(load_model(_path(path, "pcm.load"), program))


def _path(path: Any, asked: str) -> Any:
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"{asked}(path): a path is needed; found {path!r}.")
    return path
