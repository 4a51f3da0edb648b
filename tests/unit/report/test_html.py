"""HTML reports: well-formed, escaped, self-contained, written whole or not at all."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pcm.errors import ArgumentError, StoreError, UnknownNameError
from pcm.figures.embed import figure_svg, inline_svg
from pcm.figures.numerals import column_texts, number
from pcm.graph import CausalGraph
from pcm.report import Picture, Report, Table

EVIL = "<script>alert('x')</script> & \"y\""
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Checks nesting; collects tags, ids, references and text."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def figure(label: str = "dose") -> Figure:
    drawn = Figure(figsize=(3, 2))
    axes = drawn.add_subplot()
    axes.plot([0, 1], [0, 1], clip_on=True)
    axes.set_xlabel(label)
    return drawn


@pytest.fixture
def report() -> Report:
    frame = pd.DataFrame({"name": ["age", EVIL], "gap": [0.5, np.nan]})
    return (
        Report(f"Audit {EVIL}", "of a model")
        .section("Summary", f"All **well**. {EVIL}", {"units": 1200, EVIL: EVIL})
        .section(EVIL, frame, Table(frame, caption=EVIL))
        .section("Pictures", figure(EVIL), Picture(figure(EVIL), "twice", alt='a "line"'), CausalGraph([("a", EVIL)]))
        .section("End", "Done.")
    )


def test_the_page_is_well_formed_and_escaped(report):
    page = Page(report.html)
    assert page.tags[0][0] == "html"
    assert not page.all("script")
    assert EVIL in page.text
    assert [tag for tag, _ in page.tags if tag in ("h1", "h2")] == ["h1", "h2", "h2", "h2", "h2"]
    assert len(page.all("table")) == 2
    assert len(page.all("figure")) == 3


def test_nothing_is_fetched(report):
    page = Page(report.html)
    assert not [tag for tag, _ in page.tags if tag in ("link", "img", "script", "iframe", "object", "image")]
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "data"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.search(r"@import|url\((?!#)", report.html)


def test_ids_are_unique_and_references_resolve(report):
    page = Page(report.html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert len(ids) > 10
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', report.html))
    assert used
    assert used <= set(ids)


def test_embedded_drawings_are_well_formed_xml(report):
    drawings = re.findall(r"<svg.*?</svg>", report.html, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        ElementTree.fromstring(drawing)
    assert 'aria-label="a &quot;line&quot;"' in drawings[1]


def test_styles_of_a_drawing_stay_inside_it():
    drawing = inline_svg(figure_svg(figure()), prefix="p1")
    for style in re.findall(r"<style[^>]*>(.*?)</style>", drawing, re.DOTALL):
        assert style.strip().startswith("#p1 ")
    assert "<metadata" not in drawing
    assert "<?xml" not in drawing
    assert 'x id="q"' in inline_svg('<svg><text>x id="q"</text></svg>', prefix="p1")


def test_equal_figures_give_equal_reports():
    one, two = (Report("r").section("s", figure()).html for _ in range(2))
    assert one == two


def test_light_markdown():
    page = Report("r").section(
        "s", "One **bold `x*y`** and\n*it*; 2*3*4, a_b_c.\n\n- first\n- [second](https://a.org/?b=1&c=2)"
    )
    html = page.html
    assert "<p>One <strong>bold <code>x*y</code></strong> and <em>it</em>; 2*3*4, a_b_c.</p>" in html
    assert '<ul><li>first</li><li><a href="https://a.org/?b=1&amp;c=2">second</a></li></ul>' in html
    assert "javascript" in Report("r").section("s", "[x](javascript:alert)").html
    assert "<a " not in Report("r").section("s", "[x](javascript:alert)").html


def test_tables_align_numbers_and_show_their_index():
    frame = pd.DataFrame(
        {"gap": [0.125, -1.5, np.nan], "n": [5, 12_000, 7], "ok": [True, False, True], "who": ["a", "b", None]},
        index=pd.Index(["x", "y", "z"], name="unit"),
    )
    page = Page(Report("r").section("s", frame).html)
    assert "unit gap n ok who x 0.125 5 yes a y −1.500 12,000 no b z – 7 yes –" in page.text
    assert [cell.get("class") for cell in page.all("td")][:4] == ["number", "number", None, None]
    assert {"scope": "row"} in page.all("th")
    plain = Page(Report("r").section("s", frame.reset_index(drop=True)).html)
    assert {"scope": "row"} not in plain.all("th")


def test_tables_take_formats_and_are_cut():
    frame = pd.DataFrame({"share": [0.25] * 5, ("a", "b"): range(5)})
    table = Table(frame, formats={"share": ".0%", ("a", "b"): lambda value: f"no. {value}"}, max_rows=2)
    text = Page(Report("r").section("s", table).html).text
    assert "share a · b 25% no. 0 25% no. 1 … and 3 more rows" in text
    with pytest.raises(UnknownNameError, match="'shares' is not a column of the table"):
        Report("r").section("s", Table(frame, formats={"shares": ".0%"}))
    assert "value 1 2" in Page(Report("r").section("s", pd.Series([1, 2])).html).text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.012345, "0.0123"),
        (-2.0, "−2"),
        (123.456, "123"),
        (1_234_567, "1,234,567"),
        (2020, "2020"),
        (1e-9, "1.00e-09"),
        (float("inf"), "∞"),
        (float("nan"), "–"),
        (0.0, "0"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


def test_columns_share_their_decimals():
    assert column_texts(pd.Series([0.5, 10.25, -0.125])) == ["0.500", "10.250", "−0.125"]
    assert column_texts(pd.Series([1.0, 2.0, np.nan])) == ["1", "2", "–"]
    assert column_texts(pd.Series([1, 20_000])) == ["1", "20,000"]
    assert column_texts(pd.Series([3, None], dtype="Int64")) == ["3", "–"]


def test_other_parts_are_refused():
    with pytest.raises(ArgumentError, match="cannot show a int"):
        Report("r").section("s", 3)
    with pytest.raises(ArgumentError, match="cannot be made of a str"):
        Report("r").section("s", Picture("line.png"))


def test_written_whole_or_not_at_all(report, tmp_path, monkeypatch):
    path = report.to_html(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == report.html
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(StoreError, match="no folder"):
        report.to_html(tmp_path / "missing" / "report.html")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pcm.report.html.os.replace", full)
    with pytest.raises(StoreError, match="No space left"):
        Report("other").to_html(path)
    assert path.read_text(encoding="utf-8") == report.html
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_notebooks_get_a_scoped_fragment(report):
    fragment = report._repr_html_()
    Page(fragment)
    assert "<html" not in fragment
    style = re.search(r"<style>(.*?)</style>", fragment, re.DOTALL)
    assert style is not None
    rules = re.findall(r"([^{}]+)\{[^{}]*\}", re.sub(r"@media[^{]*\{", "", style[1]))
    assert len(rules) > 30
    assert all(selector.strip(" \n}").startswith(".pcm-report") for rule in rules for selector in rule.split(","))
    assert repr(report).startswith("Report('Audit")
