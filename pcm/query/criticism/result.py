"""What criticism found: every check in a table, the failures in words, pictures, and replicates for ArviZ.

>>> from pcm.query.criticism.result import Criticism
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from pcm.errors import QueryError, UnknownNameError
from pcm.io.arviz import data_tree, to_arviz
from pcm.notebook import lines_to_html
from pcm.program import Site
from pcm.query.criticism.independence import Baseline
from pcm.query.criticism.mechanisms import Check, Inputs, as_row
from pcm.query.criticism.residuals import Noise

if TYPE_CHECKING:
    from pcm.figures.chart import Chart

__all__ = ["Criticism"]

_GRAPH = "graph"


class Criticism:
    """A model's checks against data; made by :func:`pcm.criticise`.

    Attributes
    ----------
    checks : tuple of Check
        Every test and comparison, in the order of the variables.
    level : float
        Chance of any false alarm among all of them, of a model that is right.
    graph : Baseline
        Independencies that the graph implies, how many the data violate, and how many random relabellings would.
    notes : tuple of str
        What was left out or done otherwise.
    noise : dict of name to Noise
        Each mechanism's residuals, under each draw of the parameters.
    inputs : Inputs
        The observed variables as columns.
    index : pandas.Index
        Names of the units that were used.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        *,
        level: float,
        graph: Baseline,
        noise: Mapping[str, Noise],
        observed: Mapping[str, Tensor],
        replicated: Mapping[str, Tensor],
        predicted: Mapping[str, Tensor],
        inputs: Inputs,
        index: pd.Index,
        sites: Mapping[str, Site],
        notes: tuple[str, ...] = (),
    ) -> None:
        self.checks, self.level, self.graph, self.notes, self.index = tuple(checks), level, graph, notes, index
        self.noise, self.inputs, self._observed, self._sites = dict(noise), inputs, dict(observed), dict(sites)
        self._replicated, self._predicted = dict(replicated), dict(predicted)

    # -- verdicts ----------------------------------------------------------------------------------------------------

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables whose mechanism was checked, in program order."""
        return tuple(self.noise)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not any(check.fails for check in self.checks)

    @cached_property
    def failures(self) -> tuple[str, ...]:
        """What failed, in words, the clearest first."""
        failed = sorted((check for check in self.checks if check.fails), key=lambda check: check.p)
        return tuple(_told(check) for check in failed)

    @cached_property
    def verdict(self) -> dict[str, str]:
        """In words, by variable; ``"graph"`` and ``"overall"`` come last."""
        said = {name: self._of(name) for name in self.variables}
        said[_GRAPH] = self._graph_words()
        wrong = [name for name in self.variables if said[name] != _fine(name)]
        if self.passed:
            said["overall"] = (
                f"nothing found against the model in {len(self.checks)} checks of {len(self.index):,} units "
                f"(chance of a false alarm {self.level:g})"
            )
        else:
            parts = [f"mechanisms in doubt: {', '.join(wrong)}"] if wrong else []
            parts += [f"dependencies without an edge: {len(self._missing)}"] if self._missing else []
            said["overall"] = "; ".join(parts)
        return said

    def _of(self, name: str) -> str:
        failed = [c for c in self.checks if c.variable == name and c.fails and c.kind != "independence"]
        if not failed:
            return _fine(name)
        # tests of the mechanism say what is wrong; predictive checks, that something is
        tests = [c for c in failed if c.kind not in ("given parents", "marginal")] or failed
        first = sorted(tests, key=lambda check: check.p)
        rest = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return _told(first[0]) + rest

    @cached_property
    def _missing(self) -> list[Check]:
        return [check for check in self.checks if check.kind == "independence" and check.fails]

    def _graph_words(self) -> str:
        found = self.graph
        if not found.implied:
            return "graph: it implies no independence among these variables, so data cannot test it"
        said = self._missing
        which = "; ".join(check.words.removeprefix("graph: ").removesuffix("; there is no edge") for check in said)
        missing = f" ({which})" if said else ""
        return (
            f"graph: {found.violated} of {found.implied} implied independencies violated at {self.level:g} each, "
            f"{len(said) or 'none'} beyond doubt{missing}; with names exchanged at random {found.expected:.0%} are, "
            f"and {found.as_good:.0%} of {len(found.relabelled)} such graphs do as well"
        )

    # -- tables and pictures -----------------------------------------------------------------------------------------

    def to_dataframe(self) -> pd.DataFrame:
        """A row a check: what it is about, its statistic, p-value, the p-value adjusted for all checks (Holm).

        Columns ``observed``, ``predicted``, ``low``, ``high`` are of predictive checks, whose ``statistic`` is the
        distance in standard deviations of the replicates.
        """
        return pd.DataFrame([as_row(check) for check in self.checks])

    def residuals(self, name: str) -> np.ndarray:
        """Noise of a mechanism on the uniform scale, averaged over draws, ``[unit]`` or ``[unit, column]``.

        Raises
        ------
        UnknownNameError
            A name that was not checked.
        QueryError
            Outcomes without order have no such noise.
        """
        noise = self._named(name)
        if noise.uniform is None:
            raise QueryError(f"'{name}' has outcomes without order, which have no noise on the uniform scale.")
        found = noise.uniform.mean(0)
        return found[:, 0] if found.shape[1] == 1 else found

    @cached_property
    def inference_data(self) -> Any:
        """What ArviZ reads: ``observed_data``, ``posterior_predictive`` (given observed parents), ``predictions``
        (the model run forward), ``constant_data`` (covariates); dims (chain, draw, unit)."""
        groups: dict[str, dict[str, Any]] = {
            "posterior_predictive": {name: self._array(name, value, 1) for name, value in self._replicated.items()},
            "predictions": {name: self._array(name, value, 1) for name, value in self._predicted.items()},
            "observed_data": {name: self._array(name, self._observed[name], 0) for name in self.noise},
            "constant_data": {
                name: self._array(name, value, 0) for name, value in self._observed.items() if name not in self.noise
            },
        }
        labels = [str(unit) if not isinstance(unit, int | np.integer | str) else unit for unit in self.index]
        return to_arviz(data_tree(groups, coords={"unit": labels}))

    def _array(self, name: str, value: Tensor, lead: int) -> tuple[tuple[str, ...], np.ndarray]:
        array = np.moveaxis(value.numpy(), lead + len(self._sites[name].inner), lead)
        extra = tuple(f"{name}_dim_{axis}" for axis in range(array.ndim - lead - 1))
        if lead:
            return ("chain", "draw", "unit", *extra), array[None]
        return ("unit", *extra), array

    def plot(self, names: Sequence[str] | str | None = None) -> Chart:
        """Figure with two panels a mechanism: the law of its noise, and the noise against its most suspect input.

        Parameters
        ----------
        names : str or list of str, optional
            Variables to draw; all of them, up to eight, the most suspect first.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from pcm.query.criticism.picture import picture

        chosen = [names] if isinstance(names, str) else list(names) if names is not None else None
        for name in chosen or ():
            self._named(name)
        return picture(self, chosen)

    def _named(self, name: str) -> Noise:
        if name not in self.noise:
            raise UnknownNameError(name, kind="checked variable", known=list(self.noise), where="this criticism")
        return self.noise[name]

    def __repr__(self) -> str:
        lines = [*self.verdict.values(), *(f"note: {note}" for note in self.notes)]
        return "Criticism\n" + "\n".join(f"  {line}" for line in lines)

    def _repr_html_(self) -> str:
        lines = []
        for name, words in self.verdict.items():
            fine = words == _fine(name) or (name == _GRAPH and not self._missing) or self.passed
            mark = "✓" if fine else "✗"
            text = words.removeprefix(f"{name}: ")
            lines.append((f"{mark} {name}", text))
        lines += [("note", note) for note in self.notes]
        failed = sorted((check for check in self.checks if check.fails), key=lambda check: check.p)[:20]
        shown = ["kind", "variable", "about", "p", "p_holm", "words"]
        frame = pd.DataFrame([as_row(check) for check in failed], columns=shown)
        table = frame.to_html(index=False, float_format=lambda p: f"{p:.2g}") if failed else ""
        return lines_to_html(lines) + table


def _fine(name: str) -> str:
    return f"{name}: nothing found against its mechanism"


def _told(check: Check) -> str:
    return f"{check.words} (p {'< 1e-16' if check.p < 1e-16 else f'= {check.p:.2g}'})"
