"""Vectors that are recorded in part: the recorded cells are evidence, the others alone are unknown."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import pcm
from pcm.errors import EvidenceError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model

NAN = float("nan")


def close(first, second, tolerance=1e-8):
    return (np.abs(first - second) <= tolerance * np.maximum(1, np.abs(second))).all()


# -- jointly normal ----------------------------------------------------------------------------------------------------


def triple(root, joint=True):
    """a, v ~ N((a, 2a, 0), root rootᵀ), y ~ N(v₀ − v₂ + .3a, .7), all but v with noise of their own."""
    cov, scale = torch.from_numpy(root @ root.T), torch.tensor(np.diag(root).copy())

    def program():
        a = pyro.sample("a", dist.Normal(0.5, 1.0))
        centre = torch.stack([a, 2 * a, 0 * a], -1)
        if joint:
            v = pyro.sample("v", dist.MultivariateNormal(centre, cov))
        else:
            v = pyro.sample("v", dist.Normal(centre, scale).to_event(1))
        pyro.sample("y", dist.Normal(v[..., 0] - v[..., 2] + 0.3 * a, 0.7))

    return pcm.SCM(program)


def algebra(root, row, forced):
    """Mean and sd of (a, v, y) in the world do(a = forced), given the cells that are there."""
    links = np.zeros((5, 5))
    links[1, 0], links[2, 0], links[4, 1], links[4, 3], links[4, 0] = 1, 2, 1, -1, 0.3
    noise = np.zeros((5, 5))
    noise[0, 0], noise[1:4, 1:4], noise[4, 4] = 1, root, 0.7
    back = np.eye(5) - links
    make = np.linalg.inv(back)
    centre, spread = make @ [0.5, 0, 0, 0, 0], make @ noise @ noise.T @ make.T
    hole, here = np.isnan(row), ~np.isnan(row)
    gain = spread[np.ix_(hole, here)] @ np.linalg.inv(spread[np.ix_(here, here)])
    mean = row.copy()
    mean[hole] = centre[hole] + gain @ (row[here] - centre[here])
    left = np.linalg.cholesky(spread[np.ix_(hole, hole)] - gain @ spread[np.ix_(here, hole)])
    keep = np.diag([0.0, 1, 1, 1, 1])
    mean = make @ (keep @ back @ mean + [forced, 0, 0, 0, 0])
    return mean, np.sqrt(((make @ keep @ back)[:, hole] @ left).__pow__(2).sum(1))


@settings(max_examples=12)
@given(st.integers(0, 2**31), st.booleans())
def test_any_pattern_of_cells_is_the_algebra(seed, joint):
    rng = np.random.default_rng(seed)
    root = np.tril(rng.normal(size=(3, 3))) if joint else np.zeros((3, 3))
    np.fill_diagonal(root, rng.uniform(0.3, 1.5, 3))
    scm = triple(root, joint)
    frame = scm.sample(30, seed=seed)
    frame = frame.mask(rng.random(frame.shape) < 0.4)
    cf = scm.counterfactual(frame, do={"a": 0.2}, draws=16, seed=0)
    found, sds, bounds = (
        np.column_stack([part("a"), part("v"), part("y")])
        for part in (cf.mean, cf.sd, lambda n: cf.interval(n, 0.8)[..., 0])
    )
    for row, cells in enumerate(frame.to_numpy()):
        mean, sd = algebra(root, cells, 0.2)
        assert close(found[row], mean) and close(sds[row], sd), (row, cells)
        assert close(bounds[row], mean + stats.norm.ppf(0.1) * sd), (row, cells)
    seen = frame[["v[0]", "v[1]", "v[2]"]].to_numpy()
    assert (np.isnan(seen) | (cf.draws("v", "factual") == seen)).all()  # what was recorded stays, to the bit


def test_draws_of_the_open_cells_have_their_conditional_law():
    """Given v₁: v₀ ~ N(.8 v₁, .6²)."""

    def program():
        cov = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
        pyro.sample("v", dist.MultivariateNormal(torch.zeros(2), cov))

    cf = pcm.SCM(program).counterfactual({"v": [[NAN, 1.5]]}, do={"v": np.zeros((1, 2))}, draws=4000, seed=0)
    draws = cf.draws("v", "factual")[:, 0, 0]
    assert stats.kstest(draws, stats.norm(1.2, 0.6).cdf).pvalue > 1e-4
    assert "exact Gaussian" in cf.account.sites["v"].abduction
    assert "v is recorded in part for 1 of 1 units" in cf.account.notes


# -- fits --------------------------------------------------------------------------------------------------------------


def growth(n):
    level = pyro.sample("level", dist.Normal(0.0, 2.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        shape = torch.tensor([[1.0, 0.3, 0.1], [0.3, 0.8, 0.2], [0.1, 0.2, 1.2]])
        v = pyro.sample("v", dist.MultivariateNormal(level * torch.arange(1.0, 4.0), spread**2 * shape))
        pyro.sample("y", dist.Normal(v.sum(-1), 0.5))


def test_a_fit_integrates_the_open_cells_alone():
    """The likelihood is that of the cells that are there: a normal's marginal."""
    whole = pcm.SCM(growth).given(level=0.7, spread=0.8).sample(40, seed=0)
    frame = whole.mask(np.random.default_rng(1).random(whole.shape) < 0.35)
    target, marginal = target_of(Model(Program(growth)), frame)
    for level, spread in ((0.3, 0.5), (1.1, 1.4)):
        shape = np.array([[1.0, 0.3, 0.1], [0.3, 0.8, 0.2], [0.1, 0.2, 1.2]]) * spread**2
        add = np.vstack([np.eye(3), np.ones(3)])
        centre, cov = add @ (level * np.arange(1.0, 4.0)), add @ shape @ add.T + np.diag([0, 0, 0, 0.25])
        truth = stats.norm.logpdf(level, 0, 2) + stats.halfnorm.logpdf(spread)
        for row in frame.to_numpy():
            at = ~np.isnan(row)
            truth += stats.multivariate_normal.logpdf(row[at], centre[at], cov[np.ix_(at, at)]) if at.any() else 0.0
        values = {
            "level": torch.tensor(level, dtype=torch.float64),
            "spread": torch.tensor(spread, dtype=torch.float64),
        }
        with torch.no_grad():
            assert float(target.log_density(values)) == pytest.approx(truth, abs=1e-8)
    assert marginal is not None and "closed form" in marginal.account[0]


def positive(vector):
    def program(n):
        rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
        with pyro.plate("units", n):
            if vector:
                v = pyro.sample("v", dist.LogNormal(torch.zeros(2), 0.5 * rate).to_event(1))
                first, second = v.unbind(-1)
            else:
                first = pyro.sample("first", dist.LogNormal(0.0, 0.5 * rate))
                second = pyro.sample("second", dist.LogNormal(0.0, 0.5 * rate))
            pyro.sample("y", dist.Normal(first * second, 1.0))

    return program


def test_cells_of_a_bounded_support_are_what_scalars_are():
    scalar = pcm.SCM(positive(False))
    whole = scalar.given(rate=1.0).sample(12, seed=0)
    holes = whole.mask(np.random.default_rng(2).random(whole.shape) < 0.3)
    frame = holes.rename(columns={"first": "v[0]", "second": "v[1]"})
    found = []
    for program, data in ((positive(False), holes), (positive(True), frame)):
        target, _ = target_of(Model(Program(program)), data)
        with torch.no_grad():
            found.append(float(target.log_density({"rate": torch.tensor(1.2, dtype=torch.float64)})))
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    known = scalar.given(rate=1.0).counterfactual(holes, do={"y": 0.0}, seed=0)
    cf = pcm.SCM(positive(True)).given(rate=1.0).counterfactual(frame, do={"y": 0.0}, seed=0)
    both = np.column_stack([known.mean("first", "factual"), known.mean("second", "factual")])
    one = (frame[["v[0]", "v[1]"]].isna().sum(axis=1) <= 1) & frame["y"].notna()  # elsewhere by draws
    assert close(cf.mean("v", "factual")[one], both[one], 1e-6)


# -- plates inside a unit ----------------------------------------------------------------------------------------------


def visits():
    rate = pyro.sample("rate", dist.Gamma(2.0, 1.0))
    with pyro.plate("visits", 4, dim=-2):
        pyro.sample("count", dist.Poisson(rate))


def test_visits_that_were_made_inform_what_is_above():
    """Gamma(2 + Σ counts, 1 + visits made); a visit missed is drawn from its mechanism."""
    counts = np.array([[3.0, NAN, 5.0, 2.0], [NAN, NAN, 0.0, NAN], [NAN] * 4, [1.0, 1.0, 2.0, 0.0]])
    cf = pcm.SCM(visits).counterfactual({"count": counts}, do={"rate": 1.0}, draws=4000, seed=0)
    made = (~np.isnan(counts)).sum(1)
    truth = stats.gamma(2 + np.nansum(counts, 1), scale=1 / (1 + made))
    assert close(cf.mean("rate", "factual")[3], truth.mean()[3], 1e-6)  # nothing else open: integrated
    assert (np.abs(cf.mean("rate", "factual") - truth.mean()) < 5 * truth.std() / 4000**0.5).all()
    draws = cf.draws("count", "factual")
    assert (np.isnan(counts) | (draws == counts)).all()
    missed = draws[:, 0, 1]
    assert missed.mean() == pytest.approx(truth.mean()[0], abs=5 * missed.std() / 4000**0.5)


def test_whole_vectors_in_a_plate_are_missing_alone():
    def program():
        with pyro.plate("visits", 2, dim=-2):
            pyro.sample("shares", dist.Dirichlet(torch.ones(3)))

    shares = np.array([[[0.2, 0.3, 0.5], [NAN] * 3]])
    cf = pcm.SCM(program).counterfactual(
        {"shares": shares}, do={"shares": np.full((1, 2, 3), 1 / 3)}, draws=500, seed=0
    )
    draws = cf.draws("shares", "factual")[:, 0]
    assert (draws[:, 0] == shares[0, 0]).all() and abs(draws[:, 1].mean(0) - 1 / 3).max() < 0.06
    assert np.allclose(draws[:, 1].sum(-1), 1.0)


def test_effects_and_predictors_read_them_too():
    scm = triple(np.array([[1.0, 0, 0], [0.5, 1, 0], [0, 0.2, 0.6]]))
    frame = scm.sample(40, seed=3)
    frame = frame.mask(np.random.default_rng(3).random(frame.shape) < 0.3)
    effect = pcm.ate(scm, "a", "y", treated=1.0, control=0.0, data=frame, seed=0)
    assert effect.mean == pytest.approx(1.3, abs=1e-10)
    unit = scm.counterfactual(frame, do={"v": np.zeros((40, 3))}, draws=16, seed=0)
    truth = [algebra(np.array([[1.0, 0, 0], [0.5, 1, 0], [0, 0.2, 0.6]]), row, 0.0) for row in frame.to_numpy()]
    assert len(truth) == 40 and np.isfinite(unit.mean("y")).all()


# -- refusals ----------------------------------------------------------------------------------------------------------


def simplex():
    pyro.sample("x", dist.Dirichlet(torch.full((3,), 2.0)))


def one_hot():
    pyro.sample("x", dist.OneHotCategorical(torch.ones(3) / 3))


@pytest.mark.parametrize("program", [simplex, one_hot])
def test_tied_values_are_refused_with_their_rows(program):
    frame = pcm.SCM(program).sample(3, seed=0).astype(float).set_axis(["r", "s", "t"])
    frame.loc["s", "x[1]"] = NAN
    with pytest.raises(EvidenceError, match=r"'x'.*1 of 3 rows \(first: s\).*tied to each other") as caught:
        pcm.SCM(program).counterfactual(frame, do={"x": [0.0, 1.0, 0.0]})
    assert caught.value.column == "x" and caught.value.rows == ["s"]
    frame.loc["s"] = NAN
    assert len(pcm.SCM(program).counterfactual(frame, do={"x": [0.0, 1.0, 0.0]}, draws=8, seed=0)) == 3


def test_half_a_computed_vector_is_refused_only_where_it_would_have_to_be_solved():
    def program():
        a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("x", 2 * a)

    scm = pcm.SCM(program)
    with pytest.raises(EvidenceError, match=r"'x'.*1 of 2 rows.*computed from something that is missing"):
        scm.counterfactual({"a": [[NAN, NAN], [1.0, 1.0]], "x": [[1.0, NAN], [2.0, NAN]]}, do={"a": np.ones((2, 2))})
    cf = scm.counterfactual({"a": [[1.0, 1.0]], "x": [[2.0, NAN]]}, do={"a": np.zeros((1, 2))})
    assert (cf.mean("x", "factual") == 2.0).all()


def test_a_noise_known_in_part_carries_no_column():
    def program():
        u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("x", 2 * u)

    with pytest.raises(EvidenceError, match=r"'x' cannot be solved for.*'u'.*some of its values"):
        pcm.SCM(program).counterfactual({"u": [[0.5, NAN]], "x": [[1.0, 3.0]]}, do={"u": np.zeros((1, 2))})


def test_half_a_vector_of_a_frame_without_the_column_says_what_to_do():
    frame = pd.DataFrame({"v[0]": [1.0]})
    with pytest.raises(pcm.PCMError, match=r"v\[1\].*leave the cells empty"):
        triple(np.eye(3)).counterfactual(frame, do={"a": 0.0})
