"""The result object: labels, index, tables, ArviZ, pictures, words."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm

LABELS = ["none", "basic", "full"]


def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, -age], -1)))
    treated = pyro.sample("treated", dist.Bernoulli(logits=age))
    visits = pyro.sample("visits", dist.Poisson(torch.exp(0.3 * age)))
    cost = pyro.sample("cost", dist.Normal(torch.tensor([0.0, 1.0, 3.0])[plan] + age + treated, 1.0))
    pyro.sample("labs", dist.Normal(torch.stack([cost, age], -1), 1.0).to_event(1))
    with pyro.plate("days", 3, dim=-2):
        pyro.sample("pain", dist.Normal(cost, 1.0))
    pyro.deterministic("bill", 10 * cost + visits)


@pytest.fixture(scope="module")
def scm():
    return pcm.SCM(clinic, categories={"plan": LABELS})


@pytest.fixture(scope="module")
def frame(scm):
    return scm.sample(6, seed=0)


@pytest.fixture(scope="module")
def result(scm, frame):
    return scm.counterfactual(frame, worlds={"basic": {"plan": "basic"}, "old": {"age": 1.0}}, draws=32, seed=0)


# -- labels ------------------------------------------------------------------------------------------------------------


def test_frames_come_out_with_labels(frame):
    assert list(frame["plan"].cat.categories) == LABELS and set(frame["plan"]) <= set(LABELS)
    assert frame["treated"].dtype.kind == "i" and frame["visits"].dtype.kind == "i"
    assert list(frame.columns) == [
        "age",
        "plan",
        "treated",
        "visits",
        "cost",
        "labs[0]",
        "labs[1]",
        "pain[0]",
        "pain[1]",
        "pain[2]",
        "bill",
    ]


FORMS = {
    "categorical": lambda column: column,
    "text": lambda column: column.astype(str),
    "object": lambda column: column.astype(object),
    "codes": lambda column: column.cat.codes,
    "float codes": lambda column: column.cat.codes.astype(float),
    "categories in another order": lambda column: pd.Categorical(
        column.astype(str), categories=["full", "none", "basic"]
    ),
    "more categories": lambda column: pd.Categorical(column.astype(str), categories=["full", "gold", "none", "basic"]),
    "arrow text": lambda column: column.astype(str).astype("string[pyarrow]"),
    "numpy": lambda column: column.astype(str).to_numpy(),
}


@pytest.mark.parametrize("form", FORMS)
def test_labels_go_in_in_any_form(scm, frame, result, form):
    cf = scm.counterfactual(frame.assign(plan=FORMS[form](frame["plan"])), do={"plan": "basic"}, draws=32, seed=0)
    u = frame["cost"] - np.array([0.0, 1.0, 3.0])[frame["plan"].cat.codes]
    assert np.abs(cf.mean("cost") - (1 + u)).max() <= 1e-12
    assert np.array_equal(cf.probability("plan", "full", "factual"), frame["plan"] == "full")


@pytest.mark.parametrize(
    "value",
    [
        ["basic", "full", "none"] * 2,
        np.array(["basic", "full", "none"] * 2),
        np.array(["basic", "full", "none"] * 2, dtype=object),
        pd.Series(["basic", "full", "none"] * 2),
        pd.Categorical(["basic", "full", "none"] * 2, categories=["full", "none", "basic"]),
        pd.Series(["basic", "full", "none"] * 2, dtype="category"),
        [1, 2, 0] * 2,
        torch.tensor([1, 2, 0] * 2),
        lambda age: torch.tensor([1, 2, 0] * 2),
    ],
    ids=["list", "text", "object", "Series", "Categorical", "category Series", "codes", "tensor", "policy"],
)
def test_do_takes_labels_for_every_unit(scm, frame, value):
    cf = scm.counterfactual(frame, do={"plan": value})
    assert cf.draws("plan")[0].tolist() == [1, 2, 0] * 2
    assert (cf.probability("plan", "full") == [0, 1, 0] * 2).all()


def test_probabilities_by_label_and_by_code_are_one(result):
    for code, label in enumerate(LABELS):
        assert np.array_equal(result.probability("plan", label, "old"), result.probability("plan", code, "old"))
    total = sum(result.probability("plan", label, "old") for label in LABELS)
    assert np.abs(total - 1).max() <= 1e-12
    assert (result.probability("plan", "basic", "basic") == 1).all()
    assert result.labels("plan") == tuple(LABELS) and result.labels("age") is None


def test_an_unordered_category_has_no_mean_sd_interval_or_contrast(result):
    for ask in (result.mean, result.sd):
        with pytest.raises(pcm.PCMError, match=r"'plan'.*probability"):
            ask("plan", "old")
    with pytest.raises(pcm.PCMError, match="plan"):
        result.interval("plan", 0.9, "old")
    with pytest.raises(pcm.PCMError, match="plan"):
        result.contrast("plan", "old")
    assert not result.is_numeric("plan") and result.is_numeric("cost")


# -- index -------------------------------------------------------------------------------------------------------------

INDEXES = {
    "text": pd.Index(list("uvwxyz"), name="who"),
    "datetime": pd.date_range("2020-01-01", periods=6),
    "datetime with zone": pd.date_range("2020-01-01", periods=6, tz="Europe/Vienna"),
    "timedelta": pd.timedelta_range("1D", periods=6),
    "period": pd.period_range("2020-01", periods=6, freq="M"),
    "interval": pd.interval_range(0, 6),
    "categorical": pd.CategoricalIndex(list("abcdef")),
    "MultiIndex": pd.MultiIndex.from_product([["a", "b"], [1, 2, 3]], names=["ward", "bed"]),
    "float": pd.Index([0.5, 1.5, 2.5, 1e300, -1.0, 0.0]),
    "negative integers": pd.Index([-1, -2, -3, 7, 8, 2**62]),
    "duplicates": pd.Index([1, 1, 2, 2, 3, 3]),
    "duplicate text": pd.Index(list("aabbcc")),
    "mixed": pd.Index([1, "a", 2.5, None, True, (1, 2)], dtype=object),
    "shifted range": pd.RangeIndex(100, 112, 2),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_is_carried_through_everything(scm, frame, kind):
    index = INDEXES[kind]
    cf = scm.counterfactual(frame.set_axis(index, axis=0), do={"age": 1.0}, draws=8, seed=0)
    assert cf.index.equals(index) and cf.index.names == index.names
    table = cf.to_dataframe()
    assert len(table) == 12 and table.index[:6].equals(index) and table.index.names == index.names
    assert cf.contrast("cost", "do").to_dataframe().index.equals(index)
    assert cf.contrast("cost", "do").index.equals(index)
    data = cf.to_xarray()
    assert data.sizes["unit"] == 6 and data["cost"].dims == ("chain", "draw", "world", "unit")
    assert repr(cf) and cf._repr_html_()
    plt.close(cf.plot("cost"))
    first = scm.counterfactual(frame.set_axis(index, axis=0), do={"age": 1.0}, draws=8, seed=0)
    assert np.array_equal(first.draws("plan"), cf.draws("plan"))


def test_units_keep_their_noise_whatever_the_order(scm, frame):
    for kind, index in INDEXES.items():
        if not index.is_unique:
            continue
        named = frame.set_axis(index, axis=0)
        order = [3, 0, 5, 1, 4, 2]
        whole = scm.counterfactual(named, do={"age": 1.0}, draws=8, seed=0).draws("plan")
        other = scm.counterfactual(named.iloc[order], do={"age": 1.0}, draws=8, seed=0).draws("plan")
        assert np.array_equal(whole[:, order], other), kind


def test_duplicate_labels_have_noise_of_their_own(scm, frame):
    same = frame.iloc[[0] * 200].set_axis(["a"] * 200, axis=0)
    draws = scm.counterfactual(same, do={"age": 3.0}, draws=1, seed=0).draws("plan")[0]
    assert len(np.unique(draws)) > 1


def test_covariate_data_gives_its_index_to_a_sample():
    def program(*, age):
        pyro.sample("y", dist.Normal(age, 1.0))

    data = pd.DataFrame({"age": [1.0, 2.0]}, index=["ann", "bob"])
    assert list(pcm.SCM(program).sample(data=data, seed=0).index) == ["ann", "bob"]


# -- tables and trees --------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_methods_say(result, frame):
    table = result.to_dataframe(prob=0.8)
    assert list(table["world"].unique()) == ["factual", "basic", "old"] and len(table) == 18
    old = table[table["world"] == "old"]
    assert np.array_equal(old["cost"], result.mean("cost", "old"))
    bounds = result.interval("cost", 0.8, "old")
    assert np.array_equal(old["cost_low"], bounds[:, 0]) and np.array_equal(old["cost_high"], bounds[:, 1])
    assert np.array_equal(old["treated"], result.probability("treated", 1, "old"))
    for label in LABELS:
        assert np.array_equal(old[f"plan={label}"], result.probability("plan", label, "old"))
    for name in ("labs", "pain"):
        for place in range(2):
            assert np.array_equal(old[f"{name}[{place}]"], result.mean(name, "old")[:, place])
    factual = table[table["world"] == "factual"]
    assert np.array_equal(factual["bill"], frame["bill"]) and "age_low" not in table


def test_arviz_reads_the_tree(result, frame):
    import arviz

    tree = result.inference_data
    posterior = tree["posterior"]
    assert posterior["cost"].dims == ("chain", "draw", "world", "unit")
    assert posterior["cost"].shape == (1, 32, 3, 6)
    assert posterior["labs"].shape == (1, 32, 3, 6, 2) and posterior["pain"].shape == (1, 32, 3, 6, 3)
    assert list(posterior["world"].values) == ["factual", "basic", "old"]
    assert np.array_equal(posterior["cost"].sel(world="old")[0], result.draws("cost", "old"))
    assert np.array_equal(tree["observed_data"]["cost"], frame["cost"])
    assert tree["observed_data"]["cost"].dims == ("unit",)
    split = posterior[["cost"]].isel(unit=slice(0, 2)).sel(world=["old"])
    two_chains = split.isel(chain=0, drop=True).isel(draw=slice(0, 32)).expand_dims(chain=[0, 1])
    summary = arviz.summary(two_chains, kind="stats")
    assert len(summary) == 2
    assert np.abs(summary["mean"].to_numpy() - result.draws("cost", "old")[:, :2].mean(0)).max() <= 5e-4


def test_contrast_is_the_difference(result):
    effect = result.contrast("cost", "old", "basic")
    assert np.abs(effect.mean - (result.mean("cost", "old") - result.mean("cost", "basic"))).max() <= 1e-12
    assert np.array_equal(effect.draws, result.draws("cost", "old") - result.draws("cost", "basic"))
    assert len(effect) == 6 and effect.interval(0.5).shape == (6, 2)
    assert np.array_equal(
        result.contrast("cost", "old").mean, result.mean("cost", "old") - result.mean("cost", "factual")
    )
    table = effect.to_dataframe(0.5)
    assert list(table.columns) == ["mean", "low", "high"] and np.array_equal(table["mean"], effect.mean)
    zero = result.contrast("age", "basic")
    assert (zero.mean == 0).all() and zero.draws.shape == (1, 6)


@pytest.mark.parametrize("name", ["labs", "pain"])
def test_contrast_of_several_values_a_unit(result, name):
    effect = result.contrast(name, "old")
    known = result.mean(name, "old") - result.mean(name, "factual")
    assert effect.mean.shape == known.shape and np.abs(effect.mean - known).max() <= 1e-12
    assert repr(effect)
    table = effect.to_dataframe()
    assert len(table) in {6, known.size}
    assert np.allclose(np.sort(table.filter(like="mean").to_numpy().ravel()), np.sort(known.ravel()))


def test_words(result):
    assert repr(result) == (
        "Counterfactual(6 units; worlds: factual, basic, old; variables: age, plan, treated, visits, cost, labs, pain, "
        "bill; rung 3)"
    )
    assert "<table" in result._repr_html_() and "factual" in result._repr_html_()
    assert len(result) == 6 and result.worlds == ("factual", "basic", "old")
    account = result.account
    assert account.sites["plan"].coupling == "gumbel_max" and account.sites["age"].abduction == "not needed"
    assert list(account.to_dataframe().index) == ["age", "plan", "treated", "visits", "cost", "labs", "pain"]
    assert "rung: 3" in repr(account) and "<table" in account._repr_html_()


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["age", "plan", "treated", "visits", "cost", "bill"])
@pytest.mark.parametrize("units", [None, [1, 3]], ids=["all", "two"])
def test_every_kind_of_variable_has_a_picture(scm, frame, result, name, units):
    one = scm.counterfactual(frame, do={"age": 1.0}, draws=16, seed=0)
    many = scm.counterfactual(
        frame.iloc[[0, 1, 2, 3, 4, 5] * 5].reset_index(drop=True), do={"age": 1.0}, draws=16, seed=0
    )
    for cf in (one, result, many):
        figure = cf.plot(name, units=units)
        figure.canvas.draw()
        axes = figure.axes
        assert axes and sum(len(axis.lines) + len(axis.patches) + len(axis.collections) for axis in axes) >= 2
        words = " ".join(text.get_text() for text in figure.findobj(plt.Text))
        assert name in words
        if name == "plan":
            assert all(label in words for label in LABELS)
        plt.close(figure)


def test_a_picture_of_several_values_a_unit_is_refused_alike_for_few_and_many(scm, frame):
    few = scm.counterfactual(frame, do={"age": 1.0}, draws=4, seed=0)
    many = scm.counterfactual(
        frame.iloc[[0, 1, 2, 3, 4, 5] * 5].reset_index(drop=True), do={"age": 1.0}, draws=4, seed=0
    )
    for cf in (few, many):
        with pytest.raises(pcm.PCMError, match="labs"):
            cf.plot("labs")
