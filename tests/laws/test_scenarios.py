"""Many scenarios in one call: each is to the bit what it is alone, whatever others and memory limit there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm

UNITS = 500


def ward():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    dose = pyro.sample("dose", dist.Gamma(2.0, 1.0 + torch.sigmoid(age)))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0 * age, age, dose - 1], -1)))
    load = pyro.sample("load", dist.Normal(0.5 * dose - 0.3 * (plan == 1), 0.7))
    pyro.sample("ill", dist.Bernoulli(logits=load - 0.4 * age))
    pyro.deterministic("cost", 2.0 * load + dose)


def line(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    with pyro.plate("units", n):
        x = pyro.sample("x", dist.Normal(0.0, 1.0))
        y = pyro.sample("y", dist.Normal(slope * x, 1.0))
        pyro.sample("z", dist.Bernoulli(logits=y))


def heterogeneous(count: int) -> dict[str, dict[Any, Any]]:
    """Constants, shifts, values a unit, policies, single arrows and distributions in turn."""
    worlds: dict[str, dict[Any, Any]] = {}
    for number in range(count):
        c = 0.2 + number / count
        kinds: list[dict[Any, Any]] = [
            {"dose": c},
            {"dose": lambda dose, c=c: dose * c},
            {"dose": torch.linspace(c, c + 1, UNITS, dtype=torch.float64), "plan": number % 3},
            {"plan": lambda age, c=c: (age > c) * 2},
            {("dose", "load"): c},
            {"dose": dist.Exponential(c)},
            {"plan": dist.Categorical(torch.tensor([0.2, 0.3, 0.5]))},
            {"age": -c},
        ]
        worlds[f"w{number}"] = kinds[number % len(kinds)]
    return worlds


def same(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def answers(cf: pcm.Counterfactual, world: str, names: tuple[str, ...]) -> list[np.ndarray]:
    found = []
    for name in names:
        if name == "plan":
            found += [cf.probability("plan", code, world) for code in range(3)]
        else:
            found += [cf.mean(name, world), cf.sd(name, world), cf.interval(name, 0.8, world)]
        found.append(cf.draws(name, world))
    return found


@pytest.fixture(scope="module")
def patients() -> pd.DataFrame:
    return pcm.SCM(ward).sample(UNITS, seed=3)


@pytest.mark.parametrize("limit", [None, "1MB"])
def test_each_scenario_is_to_the_bit_what_it_is_alone(patients: pd.DataFrame, limit: str | None) -> None:
    scm, worlds = pcm.SCM(ward), heterogeneous(24)
    names = ("plan", "load", "ill", "cost") if limit is None else ("load", "ill")
    cf = scm.counterfactual(patients, worlds=worlds, outcome=names, memory_limit=limit, draws=16, seed=5)
    for world, do in worlds.items():
        alone = scm.counterfactual(patients, worlds={world: do}, draws=16, seed=5)
        for found, expected in zip(answers(cf, world, names), answers(alone, world, names), strict=True):
            assert same(found, expected), world


def test_scenarios_under_a_fit_are_what_they_are_alone() -> None:
    scm = pcm.SCM(line).given(slope=1.5)
    data = scm.sample(80, seed=0)
    fitted = pcm.SCM(line).fit(data, seed=0)
    worlds = {f"x={x}": {"x": float(x)} for x in range(-3, 4)} | {"fresh": {"x": dist.Normal(0.0, 1.0)}}
    cf = fitted.counterfactual(data, worlds=worlds, outcome=["y", "z"], memory_limit="1MB", draws=32, seed=1)
    for world, do in worlds.items():
        alone = fitted.counterfactual(data, worlds={world: do}, draws=32, seed=1)
        for found, expected in zip(answers(cf, world, ("y", "z")), answers(alone, world, ("y", "z")), strict=True):
            assert same(found, expected), world
    table = cf.table("y")
    # y' - y = slope (x' - x): one slope a draw, the same for every unit
    slopes = (cf.draws("y", "x=3") - data["y"].to_numpy()).mean(1) / (3 - data["x"].mean())
    low, high = np.quantile((cf.draws("y", "x=-3") - data["y"].to_numpy()).mean(1), [0.05, 0.95])
    assert np.allclose([table.loc["x=-3", "difference_low"], table.loc["x=-3", "difference_high"]], [low, high])
    assert table.loc["x=-3", "difference"] == pytest.approx(slopes.mean() * (-3 - data["x"].mean()))
    assert table.loc["factual", "difference"] == 0 == table.loc["factual", "difference_high"]


def test_units_go_in_blocks_where_the_draws_of_all_do_not_fit(patients: pd.DataFrame) -> None:
    scm, worlds = pcm.SCM(ward), {"fresh": {"dose": dist.Exponential(1.0)}, "fixed": {"dose": 1.0}}
    repeated = pd.concat([patients, patients])  # a label twice: its second unit has noise of its own
    whole = scm.counterfactual(repeated, worlds=worlds, draws=64, seed=2)
    cf = scm.counterfactual(repeated, worlds=worlds, outcome=["load", "ill"], memory_limit=600_000, draws=64, seed=2)
    for world in worlds:
        for name in ("load", "ill"):
            for ask in ("mean", "sd", "interval"):
                found, expected = (getattr(each, ask)(name, world=world) for each in (cf, whole))
                assert np.allclose(found, expected, rtol=0, atol=1e-12), (world, name, ask)
            assert np.allclose(cf.table(name), whole.table(name), rtol=0, atol=1e-12)
    with pytest.raises(pcm.PCMError, match=r"64 draws × 1,000 units of 'load': 512 kB, above memory_limit=400 kB"):
        scm.counterfactual(repeated, worlds=worlds, outcome="load", memory_limit="400kB", draws=64).draws(
            "load", "fresh"
        )


def test_all_worlds_as_one_array_and_as_one_table(patients: pd.DataFrame) -> None:
    scm, worlds = pcm.SCM(ward), heterogeneous(8)
    cf = scm.counterfactual(patients, worlds=worlds, outcome=["load", "plan"], draws=16, seed=5)
    array = cf.means("load")
    assert array.dims == ("world", "unit") and list(array["world"].values) == ["factual", *worlds]
    table = cf.table("load")
    for world in cf.worlds:
        assert same(array.sel(world=world), cf.mean("load", world))
        assert table.loc[world, "mean"] == pytest.approx(cf.mean("load", world).mean(), abs=1e-12)
    chances = cf.table("plan")
    assert np.allclose(chances.sum(axis=1), 1) and chances.loc["w2", 2] == 1


def test_a_result_above_the_limit_is_refused_with_its_size(patients: pd.DataFrame) -> None:
    scm = pcm.SCM(ward)
    with pytest.raises(pcm.PCMError, match=r"100 worlds × 500 units × 6 values: 2\.4 MB, above memory_limit=1 MB"):
        scm.counterfactual(patients, worlds=heterogeneous(100), memory_limit="1MB")
    with pytest.raises(pcm.PCMError, match="memory_limit='much'"):
        scm.counterfactual(patients, do={"dose": 1.0}, memory_limit="much")


def test_variables_that_were_not_asked_for_are_refused(patients: pd.DataFrame) -> None:
    cf = pcm.SCM(ward).counterfactual(patients, do={"dose": 1.0}, outcome="ill")
    assert cf.variables == ("ill",) and list(cf.to_dataframe()) == ["world", "ill"]
    with pytest.raises(pcm.PCMError, match="'load' was not asked for: this counterfactual keeps ill"):
        cf.mean("load")
    with pytest.raises(pcm.PCMError, match="Did you mean 'ill'"):
        pcm.SCM(ward).counterfactual(patients, do={"dose": 1.0}, outcome=["il"])
