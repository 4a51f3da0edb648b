"""How results show labels, groups, exact values and an index named like a column."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm


def grades():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    passed = pyro.sample("passed", dist.Bernoulli(logits=a))
    pyro.sample("grade", dist.OrderedLogistic(a + passed, torch.tensor([-1.0, 1.0], dtype=torch.float64)))


def trial():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    group = pyro.sample("group", dist.Bernoulli(0.5))
    t = pyro.sample("t", dist.Bernoulli(logits=age))
    pyro.sample("y", dist.Normal(t * age + group, 1.0))


@pytest.fixture(scope="module")
def units() -> pd.DataFrame:
    return pcm.SCM(trial).sample(60, seed=0)


def test_labelled_variables_are_told_by_label() -> None:
    scm = pcm.SCM(grades, categories={"passed": ["no", "yes"], "grade": ["low", "mid", "high"]})
    data = scm.sample(20, seed=1)
    cf = scm.counterfactual(data, do={"a": 1.0})
    table = cf.to_dataframe()
    grade = [f"grade={label}" for label in ("low", "mid", "high")]
    assert list(table) == ["world", "a", "passed=no", "passed=yes", *grade]
    factual = table[table["world"] == "factual"]
    assert (factual[grade].idxmax(axis=1) == "grade=" + data["grade"].astype(str)).all()
    after = table[table["world"] == "do"]
    assert np.allclose(after[grade].sum(axis=1), 1) and np.allclose(
        after["grade=high"], cf.probability("grade", "high")
    )
    assert np.allclose(after[grade] @ [0, 1, 2], cf.mean("grade"))


def test_an_index_named_like_a_column_is_renamed(units: pd.DataFrame) -> None:
    named = units.rename_axis(index="y")
    table = pcm.SCM(trial).counterfactual(named, do={"t": 1}).to_dataframe()
    assert table.index.name == "y (index)" and "y" in table.reset_index() and "y (index)" in table.reset_index()
    kept = pcm.SCM(trial).counterfactual(units.rename_axis(index="id"), do={"t": 1}).to_dataframe()
    assert kept.index.name == "id"


def test_groups_are_called_groups() -> None:
    effect = pcm.cate(pcm.SCM(trial), "t", "y", given=["group"], seed=0)
    assert repr(effect).startswith("CATE of t on y by group: 2 groups, ")


def test_an_exact_value_is_drawn_without_an_interval() -> None:
    effect = pcm.cate(pcm.SCM(trial), "t", "y", given=["group"], seed=0)
    assert not any("[" in text.get_text() for text in effect.plot().axes[0].texts)


def test_numpy_numbers_are_shown_as_numbers(units: pd.DataFrame) -> None:
    cf = pcm.SCM(trial).counterfactual(units, do={"t": 1}, draws=np.int64(8))
    with pytest.raises(pcm.PCMError, match=r"'t' takes the values 0\.\.1; 5 is none of them"):
        cf.probability("t", np.int64(5))
    with pytest.raises(pcm.PCMError, match="no unit has group = 1: there is nobody"):
        pcm.att(pcm.SCM(trial), "group", "y", treated=np.int64(1), control=0, data=units[units["group"] == 0])


def test_arms_of_an_overlap_plot_name_the_treatment(units: pd.DataFrame) -> None:
    axes = pcm.overlap(pcm.SCM(trial), "t", units).plot().axes
    assert [each.get_ylabel() for each in axes] == ["t = 1", "t = 0"]


def test_a_certificate_has_no_negative_zero() -> None:
    def pair():
        x = pyro.sample("x", dist.Bernoulli(0.3))
        pyro.sample("y", dist.Bernoulli(0.3 + 0.4 * x))

    found = pcm.bounds(pcm.SCM(pair), "PNS(x, y)").certificate
    assert (found[["low", "high"]].to_numpy() == 0).any() and "-0.0" not in found.to_string()


def test_names_in_a_contour_stand_apart() -> None:
    from pcm.figures.contour import contour

    line = np.linspace(0.0, 1.0, 9)
    near = {f"cause {place}": (0.3 + 0.002 * place, 0.4) for place in range(6)}
    figure = contour(line, line, 1 - np.outer(line, line), points=near)
    figure.canvas.draw()  # type: ignore[attr-defined]
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text() in near]
    assert len(boxes) == len(near)
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_truncated_is_public_and_fits_from_a_start_in_its_support() -> None:
    def heights(n):
        middle = pyro.sample("middle", pcm.Truncated(dist.Normal(torch.tensor(0.0), 1.0), low=0.5))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Normal(middle, 1.0))

    x = np.random.default_rng(0).normal(0.8, 1.0, size=400)
    posterior = pcm.SCM(heights).fit({"x": x}, seed=0, progress=False).posterior
    assert posterior is not None and bool((posterior["middle"] > 0.5).all())
    # conjugate: N(400 x̄ / 401, 1 / 401), whose mass below 0.5 is 1e-9
    assert float(posterior.mean("middle")) == pytest.approx(400 * x.mean() / 401, abs=0.005)
