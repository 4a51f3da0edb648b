"""A self-contained HTML report: one file, nothing fetched, readable offline, on paper, and on light or dark screens.

>>> report = Report("Audit").section("Summary", "The predictor is **fair**.", {"units": 1200})
>>> "<strong>fair</strong>" in report.html
True
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pcm.errors import ArgumentError, StoreError, UnknownNameError
from pcm.figures.embed import figure_svg, inline_svg
from pcm.figures.numerals import column_texts, number
from pcm.report.stylesheet import STYLE

__all__ = ["Picture", "Report", "Table"]


@dataclass(frozen=True)
class Table:
    """A frame with a caption.

    Attributes
    ----------
    frame
        The values; its index is shown unless it is a plain count from 0.
    caption
        Light markdown.
    formats
        By column: a format specification such as ``".1%"``, or a function of the value that returns text.
    digits
        Significant digits of floats without a format, the same number of decimals down a column.
    max_rows
        Rows shown; a last line says how many more there are.
    """

    frame: pd.DataFrame
    caption: str = ""
    formats: Mapping[Any, str | Callable[[Any], str]] = field(default_factory=dict)
    digits: int = 3
    max_rows: int = 200


@dataclass(frozen=True)
class Picture:
    """A drawing with a caption.

    Attributes
    ----------
    source
        A matplotlib figure, or anything that draws itself as SVG (a causal graph, :class:`pcm.graph.SVG`).
    caption
        Light markdown.
    alt
        What the picture shows, for those who cannot see it; default: the caption.
    """

    source: Any
    caption: str = ""
    alt: str = ""


class Report:
    """A report, built section by section.

    Parameters
    ----------
    title, subtitle
        Plain text.

    Examples
    --------
    >>> report = Report("Dose and response", "Made from 1,200 units")
    >>> report.section("Data", "Two columns:", pd.DataFrame({"dose": [1.5, 2.25], "sex": ["f", "m"]}))
    Report('Dose and response', sections: Data)
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title = title
        self.subtitle = subtitle
        self._sections: list[tuple[str, list[str]]] = []
        self._pictures = 0

    def section(self, heading: str, *parts: Any) -> Report:
        """Append a section; returns the report, so calls can be chained.

        Parameters
        ----------
        heading
            Plain text; sections under one heading are not merged.
        *parts
            Text (paragraphs between blank lines, ``- `` lists, ``**bold**``, ``*italic*``, ``` `code` ```,
            ``[text](https://…)``), a frame or series or :class:`Table`, a dict (a list of keys and values), a
            matplotlib figure or a drawing or :class:`Picture`. They are rendered at once: later changes to them do
            not show.

        Raises
        ------
        ArgumentError
            A part of any other type.
        """
        self._sections.append((heading, [self._rendered(part) for part in parts]))
        return self

    @property
    def html(self) -> str:
        """The whole document."""
        return (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            '<meta name="color-scheme" content="light dark">\n'
            f"<title>{escape(self.title)}</title>\n<style>\nbody {{ margin: 0; }}\n"
            "@media screen and (prefers-color-scheme: dark) { body { background: #151b22; } }\n"
            f"{STYLE}\n</style>\n</head>\n<body>\n{self._article()}\n</body>\n</html>\n"
        )

    def to_html(self, path: str | Path) -> Path:
        """Write the document, all of it or nothing: a reader never sees half a file.

        Returns
        -------
        Path
            Where it was written.

        Raises
        ------
        StoreError
            The folder does not exist, or cannot be written to.
        """
        path = Path(path)
        if not path.parent.is_dir():
            raise StoreError(
                f"the report cannot be written to '{path}': there is no folder '{path.parent}'; create it first.",
                path=path,
            )
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            partial.write_text(self.html, encoding="utf-8")
            os.replace(partial, path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StoreError(f"the report cannot be written to '{path}': {error.strerror}.", path=path) from error
        return path

    def _repr_html_(self) -> str:
        return f"<style>\n{STYLE}\n</style>\n{self._article()}"

    def __repr__(self) -> str:
        headings = ", ".join(heading for heading, _ in self._sections) or "none"
        return f"Report({self.title!r}, sections: {headings})"

    def _article(self) -> str:
        key = "s" + hashlib.sha256(self.title.encode()).hexdigest()[:6]
        lines = ['<article class="pcm-report">', f"<header>\n<h1>{escape(self.title)}</h1>"]
        if self.subtitle:
            lines.append(f'<p class="subtitle">{escape(self.subtitle)}</p>')
        lines.append("</header>")
        if len(self._sections) > 3:
            links = (
                f'<li><a href="#{key}-{i}">{escape(heading)}</a></li>' for i, (heading, _) in enumerate(self._sections)
            )
            lines.append(f'<nav aria-label="Contents"><ol>{"".join(links)}</ol></nav>')
        for i, (heading, parts) in enumerate(self._sections):
            lines += [f'<section id="{key}-{i}">', f"<h2>{escape(heading)}</h2>", *parts, "</section>"]
        return "\n".join([*lines, "</article>"])

    def _rendered(self, part: Any) -> str:
        if isinstance(part, Picture) or hasattr(part, "savefig") or hasattr(part, "_repr_svg_"):
            return self._figure(part if isinstance(part, Picture) else Picture(part))
        if isinstance(part, str):
            return _text(part)
        if isinstance(part, pd.Series):
            part = part.to_frame(part.name if part.name is not None else "value")
        if isinstance(part, pd.DataFrame):
            part = Table(part)
        if isinstance(part, Table):
            return _table(part)
        if isinstance(part, Mapping):
            return _pairs(part)
        raise ArgumentError(
            f"a report cannot show a {type(part).__name__}; it shows text, a DataFrame or Table, a dict, a matplotlib "
            "figure, or a drawing or Picture.",
            part=part,
        )

    def _figure(self, picture: Picture) -> str:
        drawn = hasattr(picture.source, "_repr_svg_") and not hasattr(picture.source, "savefig")
        if not drawn and not hasattr(picture.source, "savefig"):
            raise ArgumentError(
                f"a picture cannot be made of a {type(picture.source).__name__}; give a matplotlib figure or an object "
                "that draws itself as SVG.",
                source=picture.source,
            )
        source = picture.source._repr_svg_() if drawn else figure_svg(picture.source)
        self._pictures += 1
        # the count parts equal pictures of one report, the digest those of several on one notebook page
        prefix = f"p{self._pictures}-{hashlib.sha256(source.encode()).hexdigest()[:8]}"
        label = escape(picture.alt or re.sub(r"[*`]", "", picture.caption))
        caption = f"<figcaption>{_inline(picture.caption)}</figcaption>" if picture.caption else ""
        # matplotlib draws in black; on a dark page it keeps its white paper
        frame = "scroll" if drawn else "scroll paper"
        return f'<figure><div class="{frame}">{inline_svg(source, prefix=prefix, label=label)}</div>{caption}</figure>'


_MARKS = re.compile(
    r"`(?P<code>[^`]+)`"
    r"|\*\*(?P<bold>\S(?:.*?\S)?)\*\*"
    r"|(?<![\w*])\*(?P<italic>[^\s*](?:[^*]*[^\s*])?)\*(?![\w*])"
    r"|\[(?P<text>[^\]]+)\]\((?P<link>(?:https?://|#)[^\s)]+)\)"
)


def _text(text: str) -> str:
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        lines = [line.strip() for line in block.splitlines()]
        if lines and all(line.startswith("- ") for line in lines):
            blocks.append("<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>")
        elif any(lines):
            blocks.append(f"<p>{_inline(' '.join(lines))}</p>")
    return "\n".join(blocks)


def _inline(text: str) -> str:
    done, out = 0, []
    for match in _MARKS.finditer(text):
        out.append(escape(text[done : match.start()]))
        done = match.end()
        if match["code"]:
            out.append(f"<code>{escape(match['code'])}</code>")
        elif match["bold"]:
            out.append(f"<strong>{_inline(match['bold'])}</strong>")
        elif match["italic"]:
            out.append(f"<em>{_inline(match['italic'])}</em>")
        else:
            out.append(f'<a href="{escape(match["link"])}">{_inline(match["text"])}</a>')
    return "".join([*out, escape(text[done:])])


def _pairs(pairs: Mapping[Any, Any]) -> str:
    rows = "".join(f"<dt>{escape(str(key))}</dt><dd>{_value(value)}</dd>" for key, value in pairs.items())
    return f"<dl>{rows}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _inline(value)
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | float | np.integer | np.floating):
        return escape(number(value))
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "(none)"
    return escape(str(value))


def _table(table: Table) -> str:
    frame = table.frame.head(table.max_rows)
    for column in table.formats:
        if column not in frame.columns:
            raise UnknownNameError(column, kind="column", known=list(frame.columns), where="the table")
    plain = isinstance(frame.index, pd.RangeIndex) and frame.index.start == 0 and frame.index.name is None
    levels = [] if plain else [frame.index.get_level_values(i) for i in range(frame.index.nlevels)]
    columns = [frame.iloc[:, i] for i in range(frame.shape[1])]
    cells = [column_texts(column, table.formats.get(column.name), table.digits) for column in columns]
    numeric = [_is_numeric(column) for column in columns]
    head = [f"<th>{escape(str(level.name or ''))}</th>" for level in levels]
    head += [
        f'<th scope="col"{_css(right)}>{escape(_name(column.name))}</th>'
        for column, right in zip(columns, numeric, strict=True)
    ]
    body = []
    for i in range(len(frame)):
        row = [f'<th scope="row">{escape(str(level[i]))}</th>' for level in levels]
        row += [
            f"<td{_css(right, text[i] == '–')}>{escape(text[i])}</td>"
            for text, right in zip(cells, numeric, strict=True)
        ]
        body.append(f"<tr>{''.join(row)}</tr>")
    if len(table.frame) > len(frame):
        more = f"… and {len(table.frame) - len(frame):,} more rows"
        body.append(f'<tr><td class="more" colspan="{len(levels) + len(columns)}">{more}</td></tr>')
    caption = f"<caption>{_inline(table.caption)}</caption>" if table.caption else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def _is_numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _css(number: bool, missing: bool = False) -> str:
    names = " ".join(name for name, on in (("number", number), ("missing", missing)) if on)
    return f' class="{names}"' if names else ""


def _name(name: Any) -> str:
    return " · ".join(str(part) for part in name if str(part)) if isinstance(name, tuple) else str(name)
