"""What a notebook's cell shows of a result: its words, and the first rows of its table; all of it escaped.

>>> words_to_html("Overlap of x\\n  2 units have P(x) < 0.1")
'<p>Overlap of x</p><ul><li>2 units have P(x) &lt; 0.1</li></ul>'
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Shown", "lines_to_html", "table_to_html", "words_to_html"]

#: Rows of a table that a cell shows.
_ROWS = 10

_LEFT = "style='text-align:left'"


class Shown:
    """A result whose cell shows its plain form, and its ``to_dataframe()`` where that has several rows.

    Examples
    --------
    >>> class Finding(Shown):
    ...     def __repr__(self):
    ...         return "age < 3"
    >>> Finding()._repr_html_()
    '<p>age &lt; 3</p>'
    """

    def _repr_html_(self) -> str:
        table = self._table()
        return words_to_html(self._words()) + ("" if table is None or len(table) < 2 else table_to_html(table))

    def _words(self) -> str:
        return repr(self)

    def _table(self) -> pd.DataFrame | None:
        made: Any = getattr(self, "to_dataframe", None)
        return None if made is None else made()


def words_to_html(words: str) -> str:
    """A first line, and those that follow as a list."""
    head, *rest = (html.escape(line.strip()) for line in words.splitlines())
    items = "".join(f"<li>{line}</li>" for line in rest)
    return f"<p>{head}</p>" + (f"<ul>{items}</ul>" if items else "")


def lines_to_html(lines: Iterable[tuple[str, str]]) -> str:
    """Keys and words side by side, nothing where there are none.

    >>> lines_to_html([("rung", "3")])
    "<table><tr><th style='text-align:left'>rung</th><td style='text-align:left'>3</td></tr></table>"
    """
    rows = "".join(
        f"<tr><th {_LEFT}>{html.escape(key)}</th><td {_LEFT}>{html.escape(words)}</td></tr>" for key, words in lines
    )
    return f"<table>{rows}</table>" if rows else ""


def table_to_html(table: pd.DataFrame) -> str:
    """The first rows of a table, and how many more there are."""
    rest = len(table) - _ROWS
    more = f"<p>… {rest:,} more rows</p>" if rest > 0 else ""
    return table.head(_ROWS).to_html(float_format=lambda value: f"{value:.4g}", na_rep="") + more
