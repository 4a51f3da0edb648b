"""Computed columns that share their noises (``a + b``, ``a − b``): solved jointly, with log |det J| in the score."""

from __future__ import annotations

import numpy as np
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


def close(first, second, tolerance=1e-9):
    return (np.abs(first - second) <= tolerance * np.maximum(1, np.abs(second))).all()


def of(*columns, a=None, b=None):
    """A program of two noises and these columns."""
    a, b = a or dist.Normal(0.5, 1.0), b or dist.Normal(0.0, 2.0)

    def program():
        first, second = pyro.sample("a", a), pyro.sample("b", b)
        for name, column in zip("xyz", columns, strict=False):
            pyro.deterministic(name, column(first, second))

    return pcm.SCM(program)


# -- affine ------------------------------------------------------------------------------------------------------------


def test_sum_and_difference():
    scm = of(lambda a, b: a + b, lambda a, b: a - b)
    data = {"x": [1.0, 2.0, NAN], "y": [3.0, NAN, -1.0]}
    cf = scm.counterfactual(data, do={"a": 0.0}, seed=0)
    assert close(cf.mean("a", "factual")[0], 2.0, 1e-12) and close(cf.mean("b", "factual")[0], -1.0, 1e-12)
    assert close(cf.mean("x")[0], -1.0) and close(cf.mean("y")[0], 1.0) and cf.sd("y")[0] == 0
    # of one column alone, b given x = 2: prior N(0, 4), seen through noise N(.5, 1)
    assert close(cf.mean("b", "factual")[1:], [1.5 * 4 / 5, 1.5 * 4 / 5]) and close(cf.sd("b", "factual")[1], 0.8**0.5)
    assert close(cf.interval("x", 0.8)[1, 0], 1.2 + stats.norm.ppf(0.1) * 0.8**0.5)
    assert "solved from" in cf.account.sites["a"].abduction and "solved from" in cf.account.sites["b"].abduction


@settings(max_examples=15)
@given(st.integers(2, 4), st.integers(0, 2**31))
def test_any_square_affine_system_is_the_algebra(size, seed):
    """x = M u: the noises are M⁻¹ x, the density that of N(M μ, M Σ Mᵀ)."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, size)) * (rng.random((size, size)) < 0.75) + 2 * np.eye(size)
    if np.linalg.cond(matrix) > 50:
        matrix = matrix + 4 * np.eye(size)
    centre, scale = rng.normal(size=size), rng.uniform(0.5, 2.0, size)

    def program():
        u = [pyro.sample(f"u{k}", dist.Normal(centre[k], scale[k])) for k in range(size)]
        for row in range(size):
            pyro.deterministic(f"x{row}", sum(matrix[row, k] * u[k] for k in range(size) if matrix[row, k]))

    scm = pcm.SCM(program)
    whole = scm.sample(20, seed=seed % 1000)
    names = [f"x{row}" for row in range(size)]
    cf = scm.counterfactual(whole[names], do={"u0": 0.3})
    for k in range(size):
        assert close(cf.mean(f"u{k}", "factual"), whole[f"u{k}"].to_numpy())
        assert close(cf.mean(f"x{k}"), whole[f"x{k}"] + matrix[k, 0] * (0.3 - whole["u0"]))
    law = stats.multivariate_normal(matrix @ centre, matrix @ np.diag(scale**2) @ matrix.T)
    assert close(scm.log_prob(whole[names]), np.atleast_1d(law.logpdf(whole[names])), 1e-8)


def three():
    a, b, c = (pyro.sample(name, dist.Normal(0.0, 1.0)) for name in "abc")
    pyro.deterministic("x", a + b + c)
    pyro.deterministic("y", a - b)
    pyro.deterministic("z", b - c)  # the first two would take b and c
    pyro.sample("w", dist.Normal(a - 2 * c, 0.5))


def test_three_in_three_with_a_stochastic_equation_beside_them():
    scm = pcm.SCM(three)
    whole = scm.sample(30, seed=0)
    cf = scm.counterfactual(whole[["x", "y", "z", "w"]], do={"a": 1.0})
    for name in "abc":
        assert close(cf.mean(name, "factual"), whole[name].to_numpy())
    assert close(cf.mean("w"), whole["w"] + 1.0 - whole["a"])
    # without one of the columns the stochastic equation is what tells the rest
    add = np.array([[1.0, 1, 1], [1, -1, 0], [1, 0, -2]])  # x, y, w
    spread = add @ add.T + np.diag([0, 0, 0.25])
    gain = add.T @ np.linalg.inv(spread)
    left = np.eye(3) - gain @ add
    cf = scm.counterfactual(whole[["x", "y", "w"]], do={"a": 1.0}, draws=16)
    mean = whole[["x", "y", "w"]].to_numpy() @ gain.T
    for place, name in enumerate("abc"):
        assert close(cf.mean(name, "factual"), mean[:, place]), name
        assert close(cf.sd(name, "factual"), np.sqrt(left[place, place]), 1e-8), name


def test_a_third_column_that_agrees_is_checked_and_one_that_does_not_is_named():
    scm = of(lambda a, b: a + b, lambda a, b: a - b, lambda a, b: 3 * a - b)
    cf = scm.counterfactual({"x": [1.0], "y": [3.0], "z": [7.0]}, do={"a": 0.0})
    assert close(cf.mean("a", "factual"), 2.0) and close(cf.mean("z"), 1.0)
    with pytest.raises(EvidenceError, match="z cannot be what was observed"):
        scm.counterfactual({"x": [1.0], "y": [3.0], "z": [6.0]}, do={"a": 0.0})


def test_vectors_are_solved_cell_by_cell():
    normal = dist.Normal(torch.zeros(3), torch.tensor([1.0, 2.0, 0.5])).to_event(1)
    scm = of(lambda a, b: 2 * a + b, lambda a, b: a - b, a=normal, b=normal)
    whole = scm.sample(10, seed=0)
    seen = whole[[name for name in whole if name[0] in "xy"]]
    cf = scm.counterfactual(seen, do={"a": np.zeros((10, 3))})
    first = whole[["b[0]", "b[1]", "b[2]"]].to_numpy()
    assert close(cf.mean("b", "factual"), first) and close(cf.mean("x"), first) and close(cf.mean("y"), -first)


# -- bent --------------------------------------------------------------------------------------------------------------


def test_a_sum_and_a_share_of_gammas_are_a_gamma_and_a_beta():
    scm = of(lambda a, b: a + b, lambda a, b: a / (a + b), a=dist.Gamma(2.0, 1.5), b=dist.Gamma(3.0, 1.5))
    whole = scm.sample(400, seed=0)
    cf = scm.counterfactual(whole[["x", "y"]], do={"a": 1.0})
    for name in "ab":
        assert close(cf.mean(name, "factual"), whole[name].to_numpy(), 1e-8)
    truth = stats.gamma(5, scale=1 / 1.5).logpdf(whole["x"]) + stats.beta(2, 3).logpdf(whole["y"])
    assert close(scm.log_prob(whole[["x", "y"]]), truth, 1e-8)


def test_newton_comes_from_afar():
    """Far from the medians, and with slopes that all but vanish on the way."""
    scm = of(lambda a, b: torch.sinh(a) + 0.5 * torch.tanh(b), lambda a, b: b + b**3 + 0.5 * torch.tanh(a))
    at = np.array([[6.0, -5.0], [-9.0, 0.1], [0.0, 0.0], [12.0, 8.0]])
    a, b = at.T
    seen = {"x": np.sinh(a) + 0.5 * np.tanh(b), "y": b + b**3 + 0.5 * np.tanh(a)}
    cf = scm.counterfactual(seen, do={"a": 0.0})
    assert close(cf.mean("a", "factual"), a) and close(cf.mean("b", "factual"), b)
    slope = np.cosh(a) * (1 + 3 * b**2) - 0.25 / (np.cosh(a) * np.cosh(b)) ** 2
    truth = stats.norm.logpdf(a, 0.5) + stats.norm.logpdf(b, 0, 2) - np.log(slope)
    assert close(scm.log_prob(seen), truth, 1e-8)


def test_an_affine_map_of_a_positive_noise():
    """2 v + 1 is straight in v, and bent in log v, in which it is solved."""

    def program():
        v = pyro.sample("v", dist.Exponential(1.0))
        pyro.deterministic("x", 2 * v + 1)

    seen = {"x": [3.0, 50.0, 1.0001]}
    cf = pcm.SCM(program).counterfactual(seen, do={"v": 1.0})
    assert close(cf.mean("v", "factual"), [1.0, 24.5, 0.00005], 1e-12)
    assert close(pcm.SCM(program).log_prob(seen), stats.expon(1, 2).logpdf(seen["x"]))


# -- fits --------------------------------------------------------------------------------------------------------------


def mixed(n):
    pull = pyro.sample("pull", dist.Normal(0.0, 1.0))
    spread = pyro.sample("spread", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        a = pyro.sample("a", dist.Normal(0.3, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, spread))
        pyro.deterministic("x", a + b)
        pyro.deterministic("y", a - pull * b)


def test_fits_have_the_determinant_in_their_likelihood():
    """Value, gradient and curvature of the bivariate normal of (a + b, a − pull · b)."""
    data = pcm.SCM(mixed).given(pull=0.8, spread=0.6).sample(50, seed=0)[["x", "y"]]
    target, marginal = target_of(Model(Program(mixed)), data)
    seen = torch.from_numpy(data.to_numpy(copy=True))

    def truth(pull, spread):
        one = torch.ones((), dtype=torch.float64)
        add = torch.stack([torch.stack([one, one]), torch.stack([one, -pull])])
        cov = add @ torch.diag(torch.stack([one, spread**2])) @ add.T
        prior = dist.Normal(0.0, 1.0).log_prob(pull) + dist.HalfNormal(1.0).log_prob(spread)
        return prior + dist.MultivariateNormal(0.3 * one.expand(2), cov).log_prob(seen).sum()

    for place in ((0.3, 0.8), (1.7, 0.4)):
        found = []
        for density in (lambda p, s: target.log_density({"pull": p, "spread": s}), truth):
            at = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in place]
            value = density(*at)
            slopes = torch.autograd.grad(value, at, create_graph=True)
            bends = [torch.autograd.grad(slope, at, retain_graph=True)[k] for k, slope in enumerate(slopes)]
            found.append(np.array([float(part.detach()) for part in (value, *slopes, *bends)]))
        assert close(found[0], found[1], 1e-8)
    assert marginal is not None and "solved from" in marginal.account[0]


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ((lambda a, b: a + b, lambda a, b: 2 * a + 2 * b), "do not determine b, a"),
        ((lambda a, b: a + b, lambda a, b: a**2 / 3 + b), "more than one value of a, b"),
        (
            (lambda a, b: a + b, lambda a, b: a + 2 * torch.sigmoid(9 * a) + b),
            "more than one value of|do not everywhere",
        ),
    ],
)
def test_what_is_not_one_to_one_together_is_refused(columns, words):
    with pytest.raises(EvidenceError, match=rf"columns x, y share their noises.*({words})") as caught:
        of(*columns).counterfactual({"x": [1.0], "y": [2.0]}, do={"a": 0.0})
    assert caught.value.column == "x" and caught.value.rows == [0]


def test_systems_of_other_shapes_and_mixed_cells_are_refused():
    normal = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    with pytest.raises(EvidenceError, match=r"x, y share their noises.*mix the cells of 'b'"):
        of(lambda a, b: a + b.flip(-1), lambda a, b: 2 * a - b, a=normal, b=normal).counterfactual(
            {"x": [[1.0, 2.0]], "y": [[0.0, 1.0]]}, do={"a": np.zeros((1, 2))}
        )
    with pytest.raises(EvidenceError, match=r"share their noises.*have different shapes"):
        of(lambda a, b: a + b.sum(-1), lambda a, b: 2 * b + a[..., None], b=normal).counterfactual(
            {"x": [1.0], "y": [[0.0, 1.0]]}, do={"a": 0.0}
        )
