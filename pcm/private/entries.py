"""A ledger's entries read back: as losses, as a table, as lines of text.

>>> from pcm.private.book import Entry
>>> read = Entry(1, "smoker", '{"mechanism": "x"}', '{"type": "Promise", "epsilon": 1.0}', "replace", 3, "booked", "")
>>> lines([read], "ε", "replace", 0.0)
[' 1  smoker  x  ε = 1  3 rows  booked']
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pandas as pd

from pcm.errors import LedgerError
from pcm.private.book import Entry
from pcm.private.composition import RELATIONS, Loss, total_epsilon
from pcm.private.events import concentrated, decode, pure_epsilon

__all__ = ["RAW", "lines", "losses_of", "statement"]

RAW = "raw"
"""Status of a column that is published as it is."""

_STATUSES = ("debited", "released", "booked", RAW)
_COLUMNS = ("entry", "name", "mechanism", "epsilon", "pure_epsilon", "rho", "neighbouring", "rows", "status", "at")


def losses_of(entries: Sequence[Entry]) -> list[Loss]:
    """Losses of what passed mechanisms.

    Raises
    ------
    LedgerError
        An entry that no ledger has written, a raw one too.
    """
    losses = [_loss(entry) for entry in entries]
    return [loss for loss, entry in zip(losses, entries, strict=True) if entry.status != RAW]


def statement(entries: Sequence[Entry], delta: float) -> pd.DataFrame:
    """See :meth:`pcm.private.Ledger.statement`."""
    rows = []
    for entry in entries:
        loss = _loss(entry)
        costs = total_epsilon([loss], delta, entry.relation), pure_epsilon(loss.event), concentrated(loss.event)
        made = loss.constants.get("mechanism", "")
        rows.append((entry.id, entry.name, made, *costs, entry.relation, entry.rows, entry.status, entry.at))
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"rows": "Int64"}).set_index("entry")


def lines(entries: Sequence[Entry], sign: str, relation: str, delta: float) -> list[str]:
    """A line an entry, in columns; the loss by its sign, ``"ε"`` or ``"ρ"``."""
    cells = []
    for row in statement(entries, delta).reset_index().to_dict("records"):
        loss = row["rho"] if sign == "ρ" else row["epsilon"]
        doubled = ", doubled" if row["neighbouring"] != relation else ""
        cost = f"{sign} = {'∞' if math.isinf(loss) else f'{loss:.6g}'}{doubled}"
        count = "" if pd.isna(row["rows"]) else f"{row['rows']} rows"
        cells.append([str(row["entry"]), row["name"], row["mechanism"], cost, count, row["status"]])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        " " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width).rstrip()
        for row in cells
    ]


def _loss(entry: Entry) -> Loss:
    try:
        loss = Loss(decode(entry.event), entry.relation, dict(json.loads(entry.mechanism)))
        sound = entry.relation in RELATIONS and entry.status in _STATUSES
        sound = sound and (entry.status == RAW) == (type(loss.event).__name__ == "NonPrivateDpEvent")
        sound = sound and pure_epsilon(loss.event) >= 0 and concentrated(loss.event) >= 0
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
        sound, loss = False, Loss(None)
    if not sound:
        raise LedgerError(
            f"entry {entry.id} of the ledger is damaged: {entry}. What was spent is not known, so nothing is released: "
            "restore a backup."
        )
    return loss
