"""Bounds on nested and path-specific effects over every coupling, against vertices of the transportation polytope."""

from __future__ import annotations

import itertools

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import pcm


def kite(seed: int, levels: int = 3):
    """t → w → m → y, w → y, t → y: w is a recanting witness of the path t → w → y."""
    rng = np.random.default_rng(seed)
    laws = {
        "w": rng.dirichlet(np.ones(levels), 2),
        "m": rng.random(levels),
        "y": rng.random((2, levels, 2)),
    }
    tables = {name: torch.as_tensor(table) for name, table in laws.items()}

    def program():
        t = pyro.sample("t", dist.Bernoulli(0.5))
        w = pyro.sample("w", dist.Categorical(tables["w"][t.long()]))
        m = pyro.sample("m", dist.Bernoulli(tables["m"][w.long()]))
        pyro.sample("y", dist.Bernoulli(tables["y"][t.long(), w.long(), m.long()]))

    return program, laws


def vertices(rows: np.ndarray, columns: np.ndarray) -> list[np.ndarray]:
    """All basic feasible tables with these margins."""
    count = len(rows)
    margins = np.zeros((2 * count, count * count))
    for i, j in itertools.product(range(count), repeat=2):
        margins[i, i * count + j] = margins[count + j, i * count + j] = 1
    found = []
    for cells in itertools.combinations(range(count * count), 2 * count - 1):
        part = margins[:, cells]
        solution, _, rank, _ = np.linalg.lstsq(part, np.concatenate([rows, columns]), rcond=None)
        fits = np.allclose(part @ solution, np.concatenate([rows, columns]), atol=1e-10)
        if rank == len(cells) and fits and (solution > -1e-12).all():
            table = np.zeros(count * count)
            table[list(cells)] = solution
            found.append(table.reshape(count, count))
    return found


def witnessed(laws, pairs: np.ndarray) -> float:
    """E[Y(t=0, w₁, m(w₀))] − E[Y(t=0, w₀, m(w₀))] of a joint law of w in the two worlds."""
    total = 0.0
    for (before, after), chance in np.ndenumerate(pairs):
        for m, law in ((1, laws["m"][before]), (0, 1 - laws["m"][before])):
            total += chance * law * (laws["y"][0, after, m] - laws["y"][0, before, m])
    return total


@pytest.mark.parametrize("seed", range(4))
def test_a_recanting_witness_is_bounded_over_every_coupling(seed):
    program, laws = kite(seed)
    every = [witnessed(laws, table) for table in vertices(laws["w"][0], laws["w"][1])]
    scm = pcm.SCM(program)
    found = pcm.bounds(scm, pcm.Query.path_effect("t", "y", paths=["t -> w -> y"]))
    assert found.sharp and abs(found.low - min(every)) <= 1e-9 and abs(found.high - max(every)) <= 1e-9
    same = pcm.bounds(scm, "PSE(t -> w -> y)")
    assert (same.low, same.high) == (found.low, found.high)
    for coupling in ("gumbel_max", "monotone", "independent"):
        effect = pcm.path_effect(pcm.SCM(program, couplings={"w": coupling}), "t", "y", paths=["t -> w -> y"])
        assert float(effect) in found and effect.standard_error == 0
        assert "pcm.bounds(scm, 'PSE(t -> w -> y)')" in str(effect.account)


def test_without_a_witness_the_bounds_are_a_point():
    program, _ = kite(0)
    scm = pcm.SCM(program)
    for paths in (["t -> y"], ["t -> w -> y", "t -> w -> m -> y"]):
        found = pcm.bounds(scm, pcm.Query.path_effect("t", "y", paths=paths))
        truth = float(pcm.path_effect(scm, "t", "y", paths=paths))
        assert abs(found.low - truth) <= 1e-9 and abs(found.high - truth) <= 1e-9


def test_natural_effects_through_some_mediators_are_bounded():
    """M alone as mediator: w, which the treatment changes, reads one value for m and another for y."""
    program, laws = kite(1)
    scm = pcm.SCM(program)
    found = pcm.bounds(scm, pcm.Query.nde("t", "y", mediators=["m"]))
    every = []
    for table in vertices(laws["w"][0], laws["w"][1]):
        total = 0.0
        for (before, after), chance in np.ndenumerate(table):
            for m, law in ((1, laws["m"][before]), (0, 1 - laws["m"][before])):
                total += chance * law * (laws["y"][1, after, m] - laws["y"][0, before, m])
        every.append(total)
    assert abs(found.low - min(every)) <= 1e-9 and abs(found.high - max(every)) <= 1e-9
    effect = pcm.nde(scm, "t", "y", mediators=["m"])
    assert float(effect) in found and "recanting witness w" in effect.account.identification
    assert "pcm.Query.nde('t', 'y', mediators=['m'])" in str(effect.account)
    full = pcm.nde(scm, "t", "y")
    assert "model-dependent" not in full.account.identification
    assert abs(float(full) - pcm.bounds(scm, "NDE(t, y)").low) <= 1e-9


def test_the_edge_g_formula_needs_no_model():
    """Pearl's mediation formula from the law alone, as the account states it."""
    program, laws = kite(2)
    effect = pcm.nde(pcm.SCM(program), "t", "y")
    assert "Σ_w,m P(y | w, m, t=treated) P(m | w) P(w | t=control)" in effect.account.identification
    truth = sum(
        laws["w"][0, w] * law * (laws["y"][1, w, m] - laws["y"][0, w, m])
        for w in range(3)
        for m, law in ((1, laws["m"][w]), (0, 1 - laws["m"][w]))
    )
    assert abs(float(effect) - truth) <= 1e-12


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda s: pcm.bounds(s, pcm.Query.path_effect("t", "y", paths=["t -> m"])), "does not lead"),
        (lambda s: pcm.bounds(s, pcm.Query.path_effect("t", "y", paths=[])), "at least one path"),
        (lambda s: pcm.bounds(s, pcm.Query.path_effect("t", "y", paths="t -> y")), "list"),
        (lambda s: pcm.bounds(s, "PSE(t -> m -> y)"), "no.* an edge|not an edge"),
        (lambda s: pcm.bounds(s, "PSE(t, y)"), "cannot be read"),
    ],
)
def test_bad_paths_are_refused(ask, words):
    with pytest.raises(pcm.PCMError, match=words):
        ask(pcm.SCM(kite(0)[0]))
