"""The ledger: what was promised about one person, what every release spent of it, and the refusal to spend more.

It counts the unconditional claim alone: each mechanism's own guarantee for its own input, composed, whatever the causal
structure. A debit is on disk before noise is drawn; what dies in between has been spent. The budget is for what passes
mechanisms. A raw column that is published has no guarantee: it is booked as ∞, and so is the total from then on.

>>> from pcm import private
>>> ledger = Ledger(epsilon=1.5)
>>> rr = private.RandomizedResponse(epsilon=1.0, categories=[0, 1])
>>> _ = rr.release([1, 0, 1], ledger, name="smoker")
>>> rr.release([1, 0, 1], ledger, name="drinker")
Traceback (most recent call last):
pcm.errors.BudgetError: 'drinker' asks for ε = 1, and 0.5 of 1.5 remain (δ = 0). Nothing was released.
>>> print(ledger)
Privacy ledger in memory: one person replaced, budget ε = 1.5, δ = 0
 1  smoker  RandomizedResponse  ε = 1  3 rows  released
mechanisms together: ε = 1 of 1.5; remaining ε = 0.5
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pcm.arguments import check_count, check_positive
from pcm.errors import ArgumentError, BudgetError, LedgerError, UnknownNameError
from pcm.notebook import Shown
from pcm.private.book import Book, Entry
from pcm.private.checks import check_delta
from pcm.private.composition import RELATIONS, Loss, total_epsilon, total_rho
from pcm.private.costed import TOLERANCE, Costed
from pcm.private.entries import RAW, lines, losses_of, statement
from pcm.private.events import RELATION_OF, Promise, encode, leaves
from pcm.private.sampler import accounting

__all__ = ["Ledger"]

_WORDS = {"replace": "replaced", "add_remove": "added or removed"}


class Ledger(Shown):
    """A privacy budget, in a file or in memory.

    Parameters
    ----------
    path : path, optional
        SQLite file, created where it is not there; without one the ledger is in memory and ends with the process.
    epsilon, delta : float
        Budget ``(ε, δ)``. An existing file keeps its own budget, and these must agree with it where given.
    rho : float
        Budget in zero-concentrated privacy instead.
    unit : str
        What is protected: one ``"person"``, ``"household"``, … has one row; of a ``"row"`` or ``"record"`` a person
        may have several.
    neighbouring : {"replace", "add_remove"}
        Whether one unit's values change, or the unit comes and goes. Answers a row need ``"replace"``: they show who
        is there.

    Raises
    ------
    ArgumentError
        A budget that is missing, not positive or infinite.
    LedgerError
        The file is damaged, is no ledger, or has another unit, relation or budget.

    Examples
    --------
    >>> import tempfile
    >>> from pcm import private
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ledger = Ledger(f"{folder}/budget.sqlite", epsilon=3.0, delta=1e-6)
    ...     _ = private.Gaussian(rho=0.05, bounds=(0, 100)).release([35.0, 62.0], ledger, name="age")
    ...     again = Ledger(f"{folder}/budget.sqlite")
    ...     1.2 < again.epsilon_spent < 1.6, len(again.statement())
    (True, 1)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        epsilon: float | None = None,
        delta: float | None = None,
        rho: float | None = None,
        unit: str | None = None,
        neighbouring: str | None = None,
    ) -> None:
        if path is not None and (not isinstance(path, str | os.PathLike) or not str(path) or "\0" in str(path)):
            raise ArgumentError(f"Ledger(path): a path, or None for memory; found {path!r}.")
        asked = _terms(epsilon, delta, rho, unit, neighbouring)
        self._book = Book(path)
        if not self._book.exists and asked["epsilon"] is None and asked["rho"] is None:
            raise ArgumentError("Ledger(…): a new ledger needs a budget: epsilon= (and delta=), or rho=.")
        fresh = {**asked, "unit": unit or "person", "neighbouring": neighbouring or "replace"}
        if fresh["epsilon"] is not None:
            fresh["delta"] = asked["delta"] or 0.0
        try:
            found = self._book.open(None if fresh["epsilon"] is None and fresh["rho"] is None else fresh)
        except OSError as error:
            if isinstance(error, LedgerError):
                raise
            raise LedgerError(f"the ledger {path} cannot be opened: {error}.", path=str(path)) from error
        _check_found(found, path)
        apart = {key: (value, found[key]) for key, value in asked.items() if value is not None and value != found[key]}
        if apart:
            told = ", ".join(f"{key} = {there!r} (asked for {here!r})" for key, (here, there) in apart.items())
            raise LedgerError(
                f"the ledger {path} is another one: it has {told}. Open it with its own terms, or begin another file.",
                path=str(path),
                apart=apart,
            )
        self._terms = found

    # -- its terms ---------------------------------------------------------------------------------------------------

    @property
    def unit(self) -> str:
        """What is protected: one of these."""
        return self._terms["unit"]

    @property
    def neighbouring(self) -> str:
        """``"replace"`` or ``"add_remove"``."""
        return self._terms["neighbouring"]

    @property
    def budget(self) -> float:
        """ε, or ρ of a zero-concentrated budget."""
        return self._terms["epsilon"] if self._terms["rho"] is None else self._terms["rho"]

    @property
    def delta(self) -> float | None:
        """δ; None of a zero-concentrated budget."""
        return self._terms["delta"]

    # -- what was spent ----------------------------------------------------------------------------------------------

    @property
    def spent(self) -> float:
        """What the mechanisms have spent together: ε at the ledger's δ, or ρ."""
        return self._total(losses_of(self._book.entries()))

    @property
    def remaining(self) -> float:
        """What is left for mechanisms."""
        return self._left(self.spent)

    @property
    def epsilon_spent(self) -> float:
        """The unconditional total: :attr:`spent`, and ∞ once a raw column was published."""
        entries = self._book.entries()
        return math.inf if any(entry.status == RAW for entry in entries) else self._total(losses_of(entries))

    def epsilon_at(self, delta: float) -> float:
        """ε of the mechanisms at another δ.

        Examples
        --------
        >>> ledger = Ledger(rho=1.0)
        >>> _ = ledger.book("survey", rho=0.5)
        >>> round(ledger.epsilon_at(1e-6), 2)
        5.22
        """
        return total_epsilon(losses_of(self._book.entries()), check_delta(delta), self.neighbouring)

    # -- spending ----------------------------------------------------------------------------------------------------

    def debit(self, name: str, mechanism: Costed, *, rows: int | None = None) -> int:
        """Book a release that is about to be made; its number. Called by a mechanism's ``release``.

        Raises
        ------
        BudgetError
            It cannot be paid; nothing is booked.
        """
        if self.neighbouring != "replace":
            raise LedgerError(
                f"'{name}': answers a row promise something about a row replaced, and the ledger counts rows added or "
                "removed, which such a release shows openly. Keep a ledger of neighbouring='replace' for it.",
                path=str(self._book.path),
            )
        if not hasattr(mechanism, "event") or not hasattr(mechanism, "record"):
            raise ArgumentError(f"debit('{name}', mechanism): {mechanism!r} is no mechanism of pcm.private.")
        if rows is not None:
            check_count(rows, "rows")
        return self._append(name, mechanism.event, "replace", mechanism.record(), rows, "debited")

    def settle(self, entry: int) -> None:
        """Note that the noise of a debit was drawn and handed out."""
        booked = [each.id for each in self._book.entries()]
        if entry not in booked:
            raise UnknownNameError(entry, kind="entry", known=booked, where="the ledger")
        self._book.mark(entry, "released")

    def book(
        self,
        name: str,
        event: Any = None,
        *,
        epsilon: float | None = None,
        delta: float = 0.0,
        rho: float | None = None,
        neighbouring: str | None = None,
    ) -> int:
        """Book what another tool spent: a dp-accounting event, or a promise ``(ε, δ)``, or ``ρ``.

        Parameters
        ----------
        name : str
        event : DpEvent, optional
        epsilon, delta, rho : float, optional
            Instead of an event.
        neighbouring : str, optional
            Of the promise; the ledger's own by default. Add/remove promises are doubled, ``(2 ε, δ (1 + e^ε))``,
            where the ledger counts rows replaced. Poisson sampling is accounted for under ``"add_remove"`` alone.

        Raises
        ------
        ArgumentError
            No loss, several, one that no accountant knows, or a sampled one under the other relation.
        BudgetError
            It cannot be paid; nothing is booked.

        Examples
        --------
        >>> ledger = Ledger(epsilon=3.0)
        >>> _ = ledger.book("count", epsilon=1.0, neighbouring="add_remove")
        >>> ledger.spent
        2.0
        """
        relation = self.neighbouring if neighbouring is None else neighbouring
        if relation not in RELATIONS:
            raise ArgumentError(f"neighbouring={neighbouring!r}: one of {RELATIONS} is needed.")
        if relation == "replace" and self.neighbouring == "add_remove":
            raise LedgerError(
                f"'{name}': a promise about a row replaced says nothing of a row added or removed, which this ledger "
                "counts. Book it in a ledger of neighbouring='replace'.",
                path=str(self._book.path),
            )
        if sum(each is not None for each in (event, epsilon, rho)) != 1:
            raise ArgumentError(
                f"book('{name}', …): give an event, or epsilon= (and delta=), or rho=: one of the three."
            )
        if epsilon is not None:
            event = Promise(check_positive(epsilon, "epsilon"), check_delta(delta))
        elif rho is not None:
            event = accounting().ZCDpEvent(check_positive(rho, "rho"))
        for leaf, _ in leaves(event):
            if relation != (own := RELATION_OF.get(type(leaf).__name__, relation)):
                raise ArgumentError(
                    f"book('{name}', …): what sampling adds to {leaf!r} is known for neighbouring='{own}' alone, and "
                    f"here it is '{relation}'. Book it as book(name, event, neighbouring='{own}'), of which it must "
                    "then be true."
                )
        return self._append(name, event, relation, {"mechanism": "booked"}, None, "booked")

    def book_raw(self, name: str) -> int:
        """Book a column that is published as it is: ε = ∞ for whoever is in it.

        The total says so from then on; the budget goes on counting what passes mechanisms.

        Examples
        --------
        >>> ledger = Ledger(epsilon=1.0)
        >>> _ = ledger.book_raw("income")
        >>> ledger.epsilon_spent, ledger.remaining
        (inf, 1.0)
        """
        event = encode(accounting().NonPrivateDpEvent())
        made = {"name": _name(name), "event": event, "relation": self.neighbouring, "status": RAW}
        return self._book.append(lambda entries: None, {**made, "mechanism": json.dumps({"mechanism": "raw column"})})

    def _append(
        self, name: str, event: Any, relation: str, constants: dict[str, Any], rows: int | None, status: str
    ) -> int:
        new = Loss(event, relation, constants)

        def check(entries: list[Entry]) -> None:
            before = losses_of(entries)
            limit = self.budget * (1.0 + TOLERANCE)
            if self._total([*before, new], limit) <= limit:
                return
            sign, spent, alone = self._sign, self._total(before), self._total([new])
            left = self._left(spent)
            at = "" if self.delta is None else f" (δ = {self.delta:g})"
            note = ""
            if not math.isfinite(alone):
                note = " Its loss has no finite bound there: give the ledger a δ." if self.delta == 0 else ""
                if self.delta and new.relation != self.neighbouring:
                    note = (
                        " Its promise is about a row added or removed; doubled, as δ (1 + e^ε), it has no finite bound "
                        "here: add noise, or keep a ledger of neighbouring='add_remove' for it."
                    )
            raise BudgetError(
                f"'{name}' asks for {sign} = {alone:.6g}, and {left:.6g} of {self.budget:.6g} remain{at}.{note} "
                "Nothing was released.",
                asked=alone,
                spent=spent,
                remaining=left,
                budget=self.budget,
            )

        row = {"name": _name(name), "event": encode(event), "relation": relation, "rows": rows, "status": status}
        return self._book.append(check, {**row, "mechanism": json.dumps(constants, default=list)})

    @property
    def _sign(self) -> str:
        return "ε" if self._terms["rho"] is None else "ρ"

    def _left(self, spent: float) -> float:
        left = self.budget - spent
        return left if left > TOLERANCE * self.budget else 0.0  # no more than rounding

    def _total(self, losses: Sequence[Loss], enough: float = -math.inf) -> float:
        if not losses:
            return 0.0
        if self._terms["rho"] is not None:
            return total_rho(losses, self.neighbouring)
        return total_epsilon(losses, self._terms["delta"], self.neighbouring, enough)

    # -- showing -----------------------------------------------------------------------------------------------------

    def statement(self) -> pd.DataFrame:
        """A row an entry: what was spent on what.

        ``epsilon`` is of the entry alone at the ledger's δ (∞ where δ = 0 and it has no pure guarantee), ``rho`` its
        zero-concentrated loss; both as its own promise states them.
        """
        return statement(self._book.entries(), self.delta or 0.0)

    def __str__(self) -> str:
        entries, sign = self._book.entries(), self._sign
        spent = self._total(losses_of(entries))
        where = "in memory" if self._book.path is None else f"in {self._book.path}"
        budget = f"{sign} = {self.budget:g}" + ("" if self.delta is None else f", δ = {self.delta:g}")
        found = [
            f"Privacy ledger {where}: one {self.unit} {_WORDS[self.neighbouring]}, budget {budget}",
            *lines(entries, sign, self.neighbouring, self.delta or 0.0),
            f"mechanisms together: {sign} = {spent:.6g} of {self.budget:g}; remaining {sign} = {self._left(spent):.6g}",
        ]
        raw = [entry.name for entry in entries if entry.status == RAW]
        if raw:
            found.append(f"published raw: {', '.join(raw)}; for whoever is in them the total is {sign} = ∞")
        return "\n".join(found)

    def _words(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        where = "" if self._book.path is None else f"{str(self._book.path)!r}, "
        budget = f"rho={self.budget:g}" if self.delta is None else f"epsilon={self.budget:g}, delta={self.delta:g}"
        return f"Ledger({where}{budget}, unit={self.unit!r}, neighbouring={self.neighbouring!r})"


def _terms(epsilon: Any, delta: Any, rho: Any, unit: Any, neighbouring: Any) -> dict[str, Any]:
    if rho is not None and (epsilon is not None or delta is not None):
        raise ArgumentError("Ledger(…): a budget is epsilon= (and delta=), or rho=; found both.")
    if delta is not None and epsilon is None:
        raise ArgumentError("Ledger(delta=…): delta= goes with epsilon=.")
    if unit is not None and (not isinstance(unit, str) or not unit):
        raise ArgumentError(f"Ledger(unit={unit!r}): a word, such as 'person'.")
    if neighbouring is not None and neighbouring not in RELATIONS:
        raise ArgumentError(f"Ledger(neighbouring={neighbouring!r}): one of {RELATIONS} is needed.")
    return {
        "epsilon": None if epsilon is None else check_positive(epsilon, "epsilon"),
        "delta": None if delta is None else check_delta(delta),
        "rho": None if rho is None else check_positive(rho, "rho"),
        "unit": unit,
        "neighbouring": neighbouring,
    }


def _check_found(found: dict[str, Any], path: Any) -> None:
    """Refuse terms that this module would not have written."""
    try:
        own = {key: found[key] for key in ("epsilon", "delta", "rho", "unit", "neighbouring")}
        sound = _terms(**own) == own and None not in (own["unit"], own["neighbouring"])
        sound = sound and (own["epsilon"] is None) != (own["rho"] is None)
    except (KeyError, ArgumentError):
        sound = False
    if not sound:
        raise LedgerError(f"the ledger {path} is damaged: its terms are {found}. Restore a backup.", path=str(path))


def _name(name: Any) -> str:
    # a line break in a name could forge a line of the statement
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ArgumentError(f"the ledger needs a name for what is spent, in one printable line; found {name!r}.")
    return name
