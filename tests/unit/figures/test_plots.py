"""Plots: what is drawn equals what was given, and nothing global is touched."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from scipy import stats

import pcm.report
from pcm.errors import ArgumentError
from pcm.figures.kernel import kernel_density
from pcm.report import density, interval_rows, marginals, unit_contrast, worlds


def only(figure: Any) -> Any:
    (axes,) = figure.axes
    return axes


def labels_of(axes: Any) -> list[str]:
    return [label.get_text() for label in axes.get_yticklabels()]


def test_interval_rows_draws_its_numbers():
    figure = interval_rows(
        ["a", "b"], [0.1, 0.25], [0.0, -0.2], [0.3, np.nan], reference=0.0, xlabel="effect", title="t"
    )
    axes = only(figure)
    assert labels_of(axes) == ["a", "b"]
    reference, dots = axes.lines
    assert reference.get_xdata() == [0.0, 0.0]
    assert np.array_equal(dots.get_xydata(), [[0.1, 0], [0.25, 1]])
    assert np.array_equal(axes.collections[0].get_segments()[0], [[0.0, 0], [0.3, 0]])
    assert [text.get_text() for text in axes.texts] == ["0.100  [0.000, 0.300]", "0.250  [−0.200, –]"]
    assert axes.get_xlabel() == "effect"
    assert axes.yaxis_inverted()


def test_unit_contrast_draws_a_row_a_unit():
    factual, mean = np.array([1.0, 2.0, 3.0]), np.array([0.5, 2.0, np.nan])
    figure = unit_contrast(["u", "v", "w"], factual, mean, mean - 0.1, mean + 0.1, "labs", world="treated")
    axes = only(figure)
    first, second = axes.lines
    assert np.array_equal(first.get_xdata(), factual)
    assert np.array_equal(second.get_xdata(), mean, equal_nan=True)
    assert len(axes.patches) == 1  # no arrow where nothing changes or nothing is known
    assert np.allclose(axes.collections[0].get_segments()[0][:, 0], [0.4, 0.6])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["factual", "treated"]
    many = np.arange(100.0)
    crowded = unit_contrast(range(100), many, many + 1, many, many + 2)
    assert labels_of(crowded.axes[0]) == []
    assert crowded.axes[0].get_ylabel() == "100 units"


def test_kernel_density_known_answers():
    rng = np.random.default_rng(0)
    normal = rng.normal(2.0, 3.0, 200_000)
    grid, heights = kernel_density(normal)
    assert np.abs(heights - stats.norm.pdf(grid, 2.0, 3.0)).max() < 0.004
    exponential = rng.exponential(1.0, 200_000)
    grid, heights = kernel_density(exponential)
    assert heights[0] > 0.85  # an estimate that leaks over the bound has 0.5 here
    for values in (normal, exponential):
        grid, heights = kernel_density(values)
        assert np.sum(heights) * (grid[1] - grid[0]) == pytest.approx(1.0, abs=1e-9)
    spike, heights = kernel_density(np.full(5, 4.0))
    assert np.trapezoid(heights, spike) == pytest.approx(1.0)
    for odd in (np.array([0.0] * 90 + [1.0] * 10), np.zeros(1)):  # no spread between the quartiles; a single draw
        grid, heights = kernel_density(odd)
        assert np.all(np.isfinite(heights))


def test_density_marks_references_interval_and_mean():
    draws = np.linspace(0.0, 1.0, 1001)
    figure = density(draws, reference={"truth": 0.3}, xlabel="slope", prob=0.8)
    axes = only(figure)
    assert [text.get_text() for text in axes.texts] == ["mean 0.500\n80% in [0.100, 0.900]", "truth"]
    assert np.allclose(axes.collections[1].get_segments()[0][:, 0], [0.1, 0.9])
    assert axes.lines[-1].get_xdata() == [0.3, 0.3]
    several = density({"prior": draws, "posterior": draws / 10}, reference=0.0)
    axes = only(several)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["prior", "posterior"]
    tallest = max(line.get_ydata().max() for line in axes.lines[:2])
    assert axes.get_ylim() == pytest.approx((0.0, 1.06 * tallest))


def test_marginals_make_a_panel_a_scalar():
    draws = {"slope": np.arange(10.0), "weights": np.arange(40.0).reshape(10, 2, 2)}
    figure = marginals(draws, references={"slope": 4.0}, columns=3)
    shown: list[Any] = [axes for axes in figure.axes if axes.axison]
    names = ["slope", "weights[0, 0]", "weights[0, 1]", "weights[1, 0]", "weights[1, 1]"]
    assert [axes.get_title(loc="left") for axes in shown] == names
    assert len(figure.axes) == 6
    assert shown[0].lines[-1].get_xdata() == [4.0, 4.0]
    assert shown[1].lines[1].get_xdata() == [np.arange(0.0, 40.0, 4.0).mean()]
    cut = marginals(draws, max_panels=2)
    assert cut.get_supxlabel() == "… and 3 more"
    with pytest.raises(ArgumentError, match="no parameters"):
        marginals({})


def test_worlds_draws_numbers_as_ridges():
    rng = np.random.default_rng(0)
    values = {"factual": rng.normal(size=(20, 30)), "do": np.zeros(50)}
    figure = worlds(values, xlabel="labs")
    axes = only(figure)
    assert labels_of(axes) == ["factual", "do"]
    means = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"]
    assert means == pytest.approx([values["factual"].mean(), 0.0])


def test_worlds_draws_codes_as_shares():
    figure = worlds(
        {"factual": np.array([[0, 1], [1, 1]]), "do": np.array([2, 2])},
        categories=["none", "basic", "full"],
        xlabel="plan",
    )
    axes = only(figure)
    assert labels_of(axes) == ["none", "basic", "full"]
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75, 0.0, 0.0, 0.0, 1.0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["factual", "do"]
    assert [text.get_text() for text in axes.texts][:2] == ["25%", "75%"]


@pytest.mark.parametrize(
    ("array", "names"),
    [
        (np.array([True, False]), ["False", "True"]),
        (np.array([0.0, 3.0]), ["0", "3"]),
        (np.array(["b", "a", "b"], dtype=object), ["a", "b"]),
        (np.arange(40), None),
        (np.array([0.5, 1.0]), None),
    ],
)
def test_worlds_tells_discrete_from_continuous(array, names):
    axes = only(worlds({"do": array}))
    assert bool(axes.patches) == (names is not None)
    if names:
        assert labels_of(axes) == names


def test_labels_are_escaped_in_the_picture():
    evil = "<script>alert(1)</script> & $5"
    source = interval_rows([evil, "b"], [0, 1], [0, 1], [1, 2])._repr_svg_()
    assert "<script" not in source
    texts = [
        "".join(text.itertext()) for text in ElementTree.fromstring(source).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert evil in texts


def test_the_users_settings_are_left_alone():
    before = dict(matplotlib.rcParams)
    figure = density(np.arange(100.0))
    figure._repr_svg_()
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_when_needed_and_pyplot_never():
    for file in Path(pcm.report.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        late = {node for scope in ast.walk(tree) if isinstance(scope, ast.FunctionDef) for node in ast.walk(scope)}
        typing = {node for scope in tree.body if isinstance(scope, ast.If) for node in ast.walk(scope)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            assert not any("pyplot" in name for name in names), file
            if file.name != "chart.py" and node not in late | typing:
                assert not any(name.startswith(("matplotlib", "pcm.figures.chart")) for name in names), file


def test_wrong_arguments():
    with pytest.raises(ArgumentError, match=r"lows has the shape \(1,\); there are 2 labels"):
        interval_rows(["a", "b"], [0, 1], [0], [1, 2])
    with pytest.raises(ArgumentError, match="no finite values"):
        density([np.nan])
    with pytest.raises(ArgumentError, match="found 90"):
        density([1.0, 2.0], prob=90)
    with pytest.raises(ArgumentError, match="the value 3 has no label"):
        worlds({"do": np.array([0, 3])}, categories=["a", "b"])
    with pytest.raises(ArgumentError, match="no worlds"):
        worlds({})
