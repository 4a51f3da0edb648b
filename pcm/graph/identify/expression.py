"""Estimands as expression trees over the observed law: written as text and LaTeX, evaluated on a table.

>>> adjusted = total(["z"], product([Probability(("y",), ("x", "z")), Probability(("z",))]))
>>> print(adjusted.text())
Σ_z P(y | x, z) P(z)
>>> import pandas as pd
>>> data = pd.DataFrame({"z": [0, 0, 0, 1, 1, 1], "x": [0, 1, 1, 0, 0, 1], "y": [0, 0, 1, 1, 1, 1]})
>>> from pcm.graph.identify.tables import read_joint
>>> adjusted.table(read_joint(data, ["x", "y", "z"])).to_xarray(["x", "y"]).values.tolist()
[[0.5, 0.5], [0.25, 0.75]]
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import permutations
from operator import mul
from typing import Any

import numpy as np

from pcm.graph.identify.tables import Table

__all__ = ["CovarianceRatio", "Expression", "Probability", "Product", "Quotient", "Sum", "product", "ratio", "total"]


class Expression:
    """A function of the observed joint law and of its free variables."""

    @cached_property
    def free(self) -> frozenset[Any]:
        """Variables that the expression is a function of."""
        raise NotImplementedError

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        """Variables whose joint law it needs, free or summed over."""
        raise NotImplementedError

    def table(self, joint: Table) -> Table:
        """Its values under a joint law, an axis for each free variable."""
        raise NotImplementedError

    def text(self, scope: Collection[Hashable] = ()) -> str:
        """As plain text; a summed variable whose name is taken in ``scope`` gets a prime."""
        return self._written(_Scope(dict.fromkeys(self.free | set(scope), 0)), latex=False)

    def latex(self, scope: Collection[Hashable] = ()) -> str:
        """As LaTeX."""
        return self._written(_Scope(dict.fromkeys(self.free | set(scope), 0)), latex=True)

    def _written(self, scope: _Scope, latex: bool) -> str:
        raise NotImplementedError


@dataclass(frozen=True)
class Probability(Expression):
    """``P(of | given)`` of the observed law."""

    of: tuple[Any, ...]
    given: tuple[Any, ...] = ()

    @cached_property
    def free(self) -> frozenset[Any]:
        return frozenset(self.of + self.given)

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        return self.free

    def table(self, joint: Table) -> Table:
        both = joint.marginal(self.free)
        return both / joint.marginal(self.given) if self.given else both

    def _written(self, scope: _Scope, latex: bool) -> str:
        bar = r" \mid " if latex else " | "
        return f"P({scope.names(self.of, latex)}{bar if self.given else ''}{scope.names(self.given, latex)})"


@dataclass(frozen=True)
class Product(Expression):
    """A product; the empty one is 1."""

    factors: tuple[Expression, ...] = ()

    @cached_property
    def free(self) -> frozenset[Any]:
        return frozenset().union(*(factor.free for factor in self.factors))

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        return frozenset().union(*(factor.mentioned for factor in self.factors))

    def table(self, joint: Table) -> Table:
        return reduce(mul, (factor.table(joint) for factor in self.factors), Table((), np.ones(()), joint.labels))

    def _written(self, scope: _Scope, latex: bool) -> str:
        last = len(self.factors) - 1
        parts = [
            # a sum reaches to the end of its line
            scope.bracketed(factor, latex)
            if isinstance(factor, Sum) and place < last
            else factor._written(scope, latex)
            for place, factor in enumerate(self.factors)
        ]
        return (r" \, " if latex else " ").join(parts) or "1"


@dataclass(frozen=True)
class Sum(Expression):
    """A sum over every value of some variables."""

    over: tuple[Any, ...]
    of: Expression

    @cached_property
    def free(self) -> frozenset[Any]:
        return self.of.free - set(self.over)

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        return self.of.mentioned | set(self.over)

    def table(self, joint: Table) -> Table:
        inner = self.of.table(joint)
        return inner.marginal(set(inner.names) - set(self.over))

    def _written(self, scope: _Scope, latex: bool) -> str:
        inner = scope.inside(self.over)
        names = inner.names(self.over, latex)
        body = self.of._written(inner, latex)
        if latex:
            return rf"\sum_{{{names}}} {body}"
        return f"Σ_{names} {body}" if len(self.over) == 1 else f"Σ_{{{names}}} {body}"


@dataclass(frozen=True)
class Quotient(Expression):
    """One expression divided by another."""

    top: Expression
    bottom: Expression

    @cached_property
    def free(self) -> frozenset[Any]:
        return self.top.free | self.bottom.free

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        return self.top.mentioned | self.bottom.mentioned

    def table(self, joint: Table) -> Table:
        return self.top.table(joint) / self.bottom.table(joint)

    def _written(self, scope: _Scope, latex: bool) -> str:
        top, bottom = self.top._written(scope, latex), self.bottom._written(scope, latex)
        return rf"\frac{{{top}}}{{{bottom}}}" if latex else f"[{top}] / [{bottom}]"


@dataclass(frozen=True)
class CovarianceRatio(Expression):
    """``cov(z, y | w) / cov(z, x | w)``, the slope of ``y`` in ``x`` that the instrument ``z`` tells in a linear model.

    Labels of the table's axes are read as numbers; the covariances are of what least squares on ``w`` leaves over.
    """

    instrument: Any
    treatment: Any
    outcome: Any
    given: tuple[Any, ...] = ()

    @cached_property
    def free(self) -> frozenset[Any]:
        return frozenset()

    @cached_property
    def mentioned(self) -> frozenset[Any]:
        return frozenset((self.instrument, self.treatment, self.outcome, *self.given))

    def table(self, joint: Table) -> Table:
        joint = joint.marginal(self.mentioned)
        grids = np.meshgrid(*(np.asarray(joint.labels[name], float) for name in joint.names), indexing="ij")
        columns = {name: grid.ravel() for name, grid in zip(joint.names, grids, strict=True)}
        weight = joint.values.ravel()
        design = np.stack([np.ones_like(weight), *(columns[name] for name in self.given)], 1)
        root = np.sqrt(weight)[:, None]
        targets = np.stack([columns[name] for name in (self.instrument, self.treatment, self.outcome)], 1)
        left = targets - design @ np.linalg.lstsq(root * design, root * targets, rcond=None)[0]
        z, x, y = left.T
        top, bottom = float((weight * z * y).sum()), float((weight * z * x).sum())
        return Table((), np.asarray(top / bottom if abs(bottom) > 1e-14 else np.nan), joint.labels)

    def _written(self, scope: _Scope, latex: bool) -> str:
        bar = (r" \mid " if latex else " | ") + scope.names(self.given, latex) if self.given else ""
        name = r"\operatorname{cov}" if latex else "cov"
        top, bottom = (
            f"{name}({scope.names((self.instrument, other), latex)}{bar})" for other in (self.outcome, self.treatment)
        )
        return rf"\frac{{{top}}}{{{bottom}}}" if latex else f"{top} / {bottom}"


def product(factors: Iterable[Expression]) -> Expression:
    """A product, flattened, with ``P(a | b) P(c | a, b)`` written as ``P(a, c | b)``."""
    flat: list[Expression] = []
    for factor in factors:
        flat.extend(factor.factors if isinstance(factor, Product) else [factor])
    while pair := _chained(flat):
        one, other = pair
        joined = Probability(one.of + other.of, one.given)
        flat = [joined if factor is one else factor for factor in flat if factor is not other]
    return flat[0] if len(flat) == 1 else Product(tuple(flat))


def total(over: Iterable[Any], of: Expression) -> Expression:
    """A sum, with ``Σ_a P(a, b | c) = P(b | c)`` carried out and what does not depend on the sum taken out of it."""
    over = tuple(over)
    if isinstance(of, Sum) and not set(of.over) & set(over):
        over, of = over + of.over, of.of
    factors = list(of.factors) if isinstance(of, Product) else [of]
    again = True
    while again:
        again = False
        for name in over:
            having = [factor for factor in factors if name in factor.free]
            if len(having) == 1 and isinstance(having[0], Probability) and name in having[0].of:
                place = next(i for i, factor in enumerate(factors) if factor is having[0])
                left = tuple(other for other in having[0].of if other != name)
                factors[place : place + 1] = [Probability(left, having[0].given)] if left else []
                over = tuple(other for other in over if other != name)
                again = True
                break
    inside = [factor for factor in factors if factor.free & set(over)]
    outside = [factor for factor in factors if not factor.free & set(over)]
    return product([*outside, Sum(over, product(inside))] if over else factors)


def ratio(top: Expression, bottom: Expression) -> Expression:
    """A quotient, common factors cancelled."""
    above = list(top.factors) if isinstance(top, Product) else [top]
    below = list(bottom.factors) if isinstance(bottom, Product) else [bottom]
    for factor in list(above):
        if factor in below:
            above.remove(factor)
            below.remove(factor)
    if len(above) == len(below) == 1 and isinstance(above[0], Probability) and isinstance(below[0], Probability):
        whole, part = above[0], below[0]
        if set(part.given) == set(whole.given) and set(part.of) < set(whole.of):
            left = tuple(name for name in whole.of if name not in part.of)
            return Probability(left, part.of + part.given)
    if not below:
        return product(above)
    return Quotient(product(above), product(below))


def _chained(factors: Iterable[Expression]) -> tuple[Probability, Probability] | None:
    """Two factors ``P(a | b)`` and ``P(c | a, b)``."""
    for one, other in permutations([factor for factor in factors if isinstance(factor, Probability)], 2):
        if frozenset(other.given) == one.free and not one.free & set(other.of):
            return one, other
    return None


class _Scope:
    """Names in use and how many primes each bears."""

    def __init__(self, primes: dict[Any, int]) -> None:
        self.primes = primes

    def inside(self, over: Iterable[Any]) -> _Scope:
        return _Scope({**self.primes, **{name: self.primes.get(name, -1) + 1 for name in over}})

    def names(self, names: Iterable[Any], latex: bool) -> str:
        written = []
        for name in names:
            count = self.primes.get(name, 0)
            if latex:
                written.append(latex_name(name) + "'" * count)
            else:
                written.append(str(name) + "′" * count)
        return ", ".join(written)

    def bracketed(self, expression: Expression, latex: bool) -> str:
        inner = expression._written(self, latex)
        return rf"\left[ {inner} \right]" if latex else f"[{inner}]"


def latex_name(name: Hashable) -> str:
    """A variable's name in LaTeX: one letter in italics, words upright."""
    text = str(name)
    if len(text) == 1 and text.isalpha():
        return text
    for raw, escaped in (("\\", r"\backslash "), ("_", r"\_"), ("%", r"\%"), ("#", r"\#"), ("&", r"\&"), ("$", r"\$")):
        text = text.replace(raw, escaped)
    return rf"\mathrm{{{text}}}"
