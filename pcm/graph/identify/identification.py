"""`Identification`: the answer, with its formula, what it assumes, or the proof that there is none.

>>> import networkx as nx
>>> from pcm.graph.identify import identify
>>> smoking = nx.DiGraph([("gene", "smoking"), ("gene", "cancer"), ("smoking", "tar"), ("tar", "cancer")])
>>> identify(smoking, "smoking", "cancer", latent=["gene"]).summary
'the effect of smoking on cancer is identified by the front-door through tar'
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pcm.errors import DataError, QueryError, listed
from pcm.graph.identify.algorithm import Hedge
from pcm.graph.identify.expression import CovarianceRatio, Expression, latex_name
from pcm.graph.identify.tables import read_joint
from pcm.notebook import lines_to_html

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Identification"]


@dataclass(frozen=True)
class Identification:
    """Whether and how an effect follows from what is observed.

    Truthy exactly where the effect is identified.

    Attributes
    ----------
    treatment, outcome, conditional : tuple of names
    identified : bool
        Whether the observed law fixes the effect in every model with this graph. An instrument does not make it so.
    strategy : str or None
        ``"none needed"``, ``"back-door"``, ``"front-door"``, ``"ID"``, ``"instrument (linear)"``, or None.
    adjustment : frozenset or None
        What a back-door strategy adjusts for, or what an instrument is held given.
    mediators : frozenset or None
        Of a front door.
    instrument : name or None
    expression : Expression or None
        The estimand as a tree.
    witness : Hedge or None
        Proof that the effect is not identified without further assumptions.
    assumptions : tuple of str

    Examples
    --------
    >>> import networkx as nx, pandas as pd
    >>> from pcm.graph.identify import identify
    >>> found = identify(nx.DiGraph([("z", "x"), ("z", "y"), ("x", "y")]), "x", "y")
    >>> found.strategy, sorted(found.adjustment)
    ('back-door', ['z'])
    >>> units = pd.DataFrame({"z": [0, 0, 0, 1, 1, 1], "x": [0, 1, 1, 0, 0, 1], "y": [0, 0, 1, 1, 1, 1]})
    >>> found.evaluate(units).sel(y=1).values.tolist()
    [0.5, 0.75]
    """

    treatment: tuple[Any, ...]
    outcome: tuple[Any, ...]
    conditional: tuple[Any, ...]
    identified: bool
    strategy: str | None
    adjustment: frozenset[Any] | None = None
    mediators: frozenset[Any] | None = None
    instrument: Any = None
    expression: Expression | None = None
    witness: Hedge | None = None
    assumptions: tuple[str, ...] = field(default=())

    def __bool__(self) -> bool:
        return self.identified

    @property
    def query(self) -> str:
        """What was asked: ``"P(y | do(x))"``."""
        given = f", {listed(self.conditional)}" if self.conditional else ""
        return f"P({listed(self.outcome)} | do({listed(self.treatment)}){given})"

    @property
    def estimand(self) -> str | None:
        """The formula as text, None where there is none."""
        if self.expression is None:
            return None
        left = f"slope of {self.outcome[0]} in do({self.treatment[0]})" if self._linear else self.query
        return f"{left} = {self.expression.text(self._scope)}"

    @property
    def latex(self) -> str | None:
        """The formula as LaTeX, None where there is none."""
        if self.expression is None:
            return None
        treatment, outcome, given = (
            ", ".join(map(latex_name, names)) for names in (self.treatment, self.outcome, self.conditional)
        )
        if self._linear:
            left = rf"\frac{{\partial}}{{\partial {treatment}}} E[{outcome} \mid \mathrm{{do}}({treatment})]"
        else:
            left = rf"P({outcome} \mid \mathrm{{do}}({treatment}){', ' + given if given else ''})"
        return f"{left} = {self.expression.latex(self._scope)}"

    @property
    def summary(self) -> str:
        """The verdict in one line."""
        what = f"the effect of {listed(self.treatment)} on {listed(self.outcome)}"
        what += f" given {listed(self.conditional)}" if self.conditional else ""
        if self.strategy is None:
            return f"{what} is not identified"
        if self._linear:
            given = f" given {_names(self.adjustment)}" if self.adjustment else ""
            return f"{what} is not identified, but in a linear model by the instrument {self.instrument}{given}"
        how = {
            "none needed": "without adjustment",
            "back-door": f"by back-door adjustment for {_names(self.adjustment)}",
            "front-door": f"by the front-door through {_names(self.mediators)}",
            "ID": "by general identification (ID)",
        }[self.strategy]
        return f"{what} is identified {how}"

    def evaluate(self, joint: Any) -> xr.DataArray:
        """The estimand under an observed joint law.

        Parameters
        ----------
        joint
            Units (a DataFrame, a column a variable), probabilities or counts (a Series whose index levels are the
            variables), or a ``xarray.DataArray`` with a dim a variable. All discrete.

        Returns
        -------
        xarray.DataArray
            ``[*treatment, *conditional, *outcome]``, the probability of the outcome for each value of the treatment;
            NaN where the data have no unit to tell it from. Of an instrument: one number, the slope.

        Raises
        ------
        QueryError
            The effect is not identified.
        DataError
            A variable that the estimand needs is missing, or the numbers are no law.
        """
        if self.expression is None:
            raise QueryError(f"there is no estimand to evaluate: {self.summary} ({self.witness}).")
        if self._linear:
            table = read_joint(joint, sorted(self.expression.mentioned, key=str))
            try:
                return self.expression.table(table).to_xarray(())
            except (TypeError, ValueError) as error:
                raise DataError(f"an instrument needs numbers as values of its variables ({error}).") from None
        asked = (*self.treatment, *self.conditional, *self.outcome)
        names = list(dict.fromkeys([*asked, *sorted(self.expression.mentioned - set(asked), key=str)]))
        law = read_joint(joint, names)
        found = self.expression.table(law)
        spare = [name for name in found.names if name not in asked]
        if spare:  # the same at each of their values in the true law: average what a finite sample makes of it
            found = (found * law.marginal(spare)).marginal(asked)
        return found.to_xarray(asked)

    @property
    def _linear(self) -> bool:
        return isinstance(self.expression, CovarianceRatio)

    @property
    def _scope(self) -> tuple[Any, ...]:
        return (*self.treatment, *self.outcome, *self.conditional)

    def _lines(self) -> list[tuple[str, str]]:
        lines = []
        if self.witness is not None:
            lines.append(("hedge", str(self.witness)))
        return lines + [("assuming" if not place else "", words) for place, words in enumerate(self.assumptions)]

    def __repr__(self) -> str:
        lines = [f"Identification: {self.summary}."]
        if self.estimand:
            lines.append(f"  {self.estimand}")
        lines += [f"  {f'{key}:' if key else '':<9} {words}" for key, words in self._lines()]
        return "\n".join(lines).replace("hedge:    ", "hedge: ")

    def _repr_latex_(self) -> str | None:
        return f"$\\displaystyle {self.latex}$" if self.latex else None

    def _repr_html_(self) -> str:
        import html

        lines = [f"<p>{html.escape(self.summary[:1].upper() + self.summary[1:])}.</p>"]
        if self.latex:
            lines.append(f"<p>$\\displaystyle {html.escape(self.latex, quote=False)}$</p>")
        return "".join(lines) + lines_to_html(self._lines())


def _names(names: Collection[Any] | None) -> str:
    return listed(sorted(names or (), key=str))
