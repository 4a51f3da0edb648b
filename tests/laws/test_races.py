"""Law 6 under Gumbel-max, whose noise has no finite types: nested worlds and causes of units by races that were run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm

RUNS = 400_000
rng = np.random.default_rng(4)
W, M = rng.dirichlet(np.ones(4), 3), rng.dirichlet(np.ones(3), (4, 3))
Y = rng.uniform(0.1, 0.9, (3, 4))


def career():
    """t → w → m → y and t → m, w → y: w is a recanting witness of t → w → y."""
    w_table, m_table, y_table = (torch.as_tensor(each) for each in (W, M, Y))
    t = pyro.sample("t", dist.Categorical(torch.tensor([0.3, 0.3, 0.4])))
    w = pyro.sample("w", dist.Categorical(w_table[t.long()]))
    m = pyro.sample("m", dist.Categorical(m_table[w.long(), t.long()]))
    pyro.sample("y", dist.Bernoulli(y_table[m.long(), w.long()]))


@pytest.fixture(scope="module")
def races() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Noise of units, and what they did."""
    noise = {name: rng.exponential(size=(RUNS, kinds)) for name, kinds in (("w", 4), ("m", 3))}
    noise["y"] = rng.uniform(size=RUNS)
    return noise, world(noise, rng.choice(3, RUNS, p=[0.3, 0.3, 0.4]))


def world(noise, t, w_for_m=None, w_for_y=None):
    """What the units do under t, where m and y may see another w than their own."""
    t = np.broadcast_to(t, RUNS)
    w = (noise["w"] / W[t]).argmin(-1)
    m = (noise["m"] / M[w if w_for_m is None else w_for_m, t]).argmin(-1)
    y = (noise["y"] > 1 - Y[m, w if w_for_y is None else w_for_y]).astype(int)
    return {"t": t, "w": w, "m": m, "y": y}


def agree(found: pcm.Effect, rows: pd.DataFrame, natural: dict[str, np.ndarray], drawn: np.ndarray) -> None:
    """Each unit's answer is the average over the noise that its row leaves, within five standard errors."""
    tested = 0
    for (_, row), answer in zip(rows.iterrows(), found.units.mean, strict=True):
        alike = np.all([natural[name] == row[name] for name in natural], axis=0)
        if alike.sum() < 1_000:
            continue
        mine = drawn[alike].astype(float)
        assert abs(mine.mean() - answer) <= 5 * mine.std() / len(mine) ** 0.5 + 1e-9
        tested += 1
    assert tested >= 20


def test_a_recanting_witness_of_given_units_is_exact(races) -> None:
    noise, natural = races
    rows = pd.DataFrame(natural).drop_duplicates(ignore_index=True)
    off, on = world(noise, 0), world(noise, 1)
    along = world(noise, 0, w_for_m=off["w"], w_for_y=on["w"])  # m sees the control world
    found = pcm.path_effect(pcm.SCM(career), "t", "y", paths=["t -> w -> y"], data=rows)
    assert "draws" not in str(found.account.worlds) and "recanting witness: w" in str(found.account.notes)
    agree(found, rows, natural, along["y"] - off["y"])


@pytest.mark.parametrize(("treated", "control"), [(1, 0), (0, 2)])
def test_causes_of_units_that_took_another_value_are_exact(races, treated: int, control: int) -> None:
    noise, natural = races
    rows = pd.DataFrame(natural).drop_duplicates(ignore_index=True)
    first, second = (world(noise, value)["y"] for value in (treated, control))
    found = pcm.probability_of_necessity_and_sufficiency(
        pcm.SCM(career), "t", "y", treated=treated, control=control, value=1, data=rows
    )
    assert "joint assignments of the two worlds" in str(found.account.notes)
    agree(found, rows, natural, (first == 1) & (second != 1))
