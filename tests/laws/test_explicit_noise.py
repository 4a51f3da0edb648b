"""Programs that write their noise out, ``x = f(parents, u)``: the implicit program's answers, the change of variables,
and refusals where the map is not one to one."""

from __future__ import annotations

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

import pcm
from pcm.errors import EvidenceError
from pcm.program import Program
from pcm.query.likelihood import target_of
from pcm.query.model import Model
from pcm_models import firing_squad
from tests.laws.random_programs import linears


def close(first, second, tolerance=1e-10):
    return (np.abs(first - second) <= tolerance * np.maximum(1, np.abs(second))).all()


# -- linear programs written both ways ---------------------------------------------------------------------------------


@settings(max_examples=12)
@given(linears(), st.integers(0, 2**31), st.data())
def test_linear_programs_written_both_ways_agree(linear, seed, data):
    implicit, explicit = pcm.SCM(linear.program()), pcm.SCM(linear.program(explicit=True))
    frame = implicit.sample(40, seed=seed)
    target = data.draw(st.sampled_from(linear.names))
    sets = {target: frame[target].to_numpy() + 0.7}
    cf, known = explicit.counterfactual(frame, do=sets, seed=0), implicit.counterfactual(frame, do=sets, seed=0)
    truth = linear.counterfactual(frame.to_numpy(), {linear.names.index(target): sets[target]})
    for place, name in enumerate(linear.names):
        assert close(cf.mean(name), known.mean(name)) and close(cf.mean(name), truth[:, place]), name
        assert (cf.draws(name, "factual")[0] == frame[name]).all()  # to the bit
        assert (cf.sd(name) == 0).all()
    assert close(explicit.log_prob(frame), implicit.log_prob(frame))


@settings(max_examples=12)
@given(linears(), st.integers(0, 2**31), st.data())
def test_with_holes_too(linear, seed, data):
    implicit, explicit = pcm.SCM(linear.program()), pcm.SCM(linear.program(explicit=True))
    frame = implicit.sample(40, seed=seed)
    frame = frame.mask(np.random.default_rng(seed).random(frame.shape) < 0.4)
    target = data.draw(st.sampled_from(linear.names))
    cf = explicit.counterfactual(frame, do={target: 0.7}, seed=0, draws=16)
    known = implicit.counterfactual(frame, do={target: 0.7}, seed=0, draws=16)
    for name in linear.names:
        for world in ("factual", "do"):
            assert close(cf.mean(name, world), known.mean(name, world)), (name, world)
            assert close(cf.sd(name, world), known.sd(name, world), 1e-8), (name, world)
            assert close(cf.interval(name, 0.8, world), known.interval(name, 0.8, world), 1e-8), (name, world)


def chain(explicit):
    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        if explicit:
            b = pyro.deterministic("b", 0.8 * a + 0.5 * pyro.sample("u_b", dist.Normal(0.0, 1.0)))
            pyro.deterministic("y", 1.2 * b - 0.3 * a + pyro.sample("u_y", dist.Normal(0.0, 0.7)))
        else:
            b = pyro.sample("b", dist.Normal(0.8 * a, 0.5))
            pyro.sample("y", dist.Normal(1.2 * b - 0.3 * a, 0.7))

    return program


def test_effects_are_the_same():
    implicit, explicit = pcm.SCM(chain(False)), pcm.SCM(chain(True))
    frame = implicit.sample(60, seed=1)
    for found in (implicit, explicit):
        effect = pcm.ate(found, "a", "y", treated=1.0, control=0.0, data=frame, seed=0)
        assert effect.mean == pytest.approx(1.2 * 0.8 - 0.3, abs=1e-12)
        direct = pcm.nde(found, "a", "y", treated=1.0, control=0.0, data=frame, seed=0)
        assert direct.mean == pytest.approx(-0.3, abs=1e-12)
    assert pcm.ate(explicit, "a", "y", treated=1.0, control=0.0, seed=0).mean == pytest.approx(0.66, abs=1e-9)


def test_evidence_from_a_world_under_an_edge_intervention():
    """y = 1.2 b − .3 · 2 + u_y there, whatever a is: a is known through b alone."""
    for found in (pcm.SCM(chain(False)), pcm.SCM(chain(True))):
        cf = found.do({("a", "y"): 2.0}).counterfactual({"b": [0.4], "y": [1.0]}, do={"b": 0.0})
        assert cf.mean("a", "factual")[0] == pytest.approx(0.8 * 0.4 / (0.8**2 + 0.5**2), abs=1e-10)
        assert cf.mean("y")[0] == pytest.approx(1.0 - 1.2 * 0.4, abs=1e-10)


# -- maps that bend ----------------------------------------------------------------------------------------------------


def bent():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    x = pyro.deterministic("x", a + torch.sinh(pyro.sample("u", dist.Normal(0.0, 1.0))))
    v = pyro.sample("v", dist.Exponential(1.0))
    w = pyro.sample("w", dist.Normal(0.0, 2.0))
    pyro.deterministic("y", torch.nn.functional.softplus(x) * v**2)
    pyro.deterministic("z", torch.nn.functional.softplus(w) * (1 + a**2) - x)


def test_monotone_maps_are_solved_and_replayed():
    scm = pcm.SCM(bent)
    whole = scm.sample(2_000, seed=1)
    seen = whole[["a", "x", "y", "z"]]
    cf, known = scm.counterfactual(seen, do={"a": 1.0}), scm.counterfactual(whole, do={"a": 1.0})
    for name in ("x", "y", "z"):
        assert close(cf.mean(name), known.mean(name)), name
    for name in ("u", "v"):
        assert close(cf.mean(name, "factual"), whole[name].to_numpy(), 1e-8), name
    again = scm.counterfactual(seen, do={"a": seen["a"].to_numpy()})  # law 1
    assert all(close(again.mean(name), seen[name].to_numpy(), 1e-12) for name in seen)
    assert "solved from x" in cf.account.sites["u"].abduction
    assert not cf.diagnostics["missing"].any()


def test_the_density_has_the_jacobian():
    def lognormal():
        pyro.deterministic("x", torch.exp(0.3 + 0.5 * pyro.sample("u", dist.Normal(0.0, 1.0))))

    at = np.array([0.1, 1.0, 7.0])
    assert close(pcm.SCM(lognormal).log_prob({"x": at}), stats.lognorm(0.5, scale=np.exp(0.3)).logpdf(at))


def product():
    p = pyro.sample("p", dist.Normal(0.0, 1.0))
    pyro.deterministic("x", torch.exp(p) * pyro.sample("u", dist.Normal(0.0, 1.0)))


def built_in():
    p = pyro.sample("p", dist.Normal(0.0, 1.0))
    map_ = dist.transforms.AffineTransform(0.0, torch.exp(p))
    pyro.sample("x", dist.TransformedDistribution(dist.Normal(0.0, 1.0), [map_]))


def test_two_noises_enter_one_column():
    """x = eᵖ u = 2: one is solved for, with |∂u/∂x| = e⁻ᵖ, the other integrated: .67, and 1.01 without the factor."""

    def moment(power, jacobian=True):
        def density(p):
            return p**power * np.exp(-0.5 * p**2 - 0.5 * (2 * np.exp(-p)) ** 2 - p * jacobian)

        return integrate.quad(density, -8, 8)[0]

    truth, without = moment(1) / moment(0), moment(1, False) / moment(0, False)
    assert (round(truth, 2), round(without, 2)) == (0.67, 1.01)
    data = {"x": np.full(3, 2.0)}
    cf = pcm.SCM(product).counterfactual(data, do={"p": 0.0}, seed=0)
    other = pcm.SCM(built_in).counterfactual(data, do={"p": 0.0}, seed=0)
    assert cf.mean("p", "factual") == pytest.approx(truth, abs=1e-8)
    assert close(cf.mean("p", "factual"), other.mean("p", "factual"), 1e-9)
    assert close(cf.mean("x"), other.mean("x"), 1e-9)
    assert "solved from x" in cf.account.sites["u"].abduction and "posterior" in cf.account.sites["p"].abduction


def test_a_noise_that_is_known_is_not_solved_for():
    cf = pcm.SCM(product).counterfactual({"x": [2.0, 3.0], "u": [0.5, np.nan], "p": [np.nan, 0.1]}, do={"p": 0.0})
    assert cf.mean("p", "factual")[0] == pytest.approx(np.log(4.0), abs=1e-9)
    assert cf.mean("u", "factual")[1] == pytest.approx(3.0 * np.exp(-0.1), abs=1e-12)
    assert cf.mean("x") == pytest.approx([0.5, 3.0 * np.exp(-0.1)], abs=1e-9)


def test_vectors_are_solved_cell_by_cell():
    def wide():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        u = pyro.sample("u", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        pyro.deterministic("x", a[..., None] * torch.arange(3.0) + torch.sinh(u))
        with pyro.plate("visits", 2, dim=-2):
            v = pyro.sample("v", dist.Normal(0.0, 1.0))
            pyro.deterministic("y", a + 2 * v)

    scm = pcm.SCM(wide)
    whole = scm.sample(50, seed=3)
    seen = whole[[name for name in whole if not name.startswith(("u", "v"))]]
    cf, known = scm.counterfactual(seen, do={"a": 1.0}), scm.counterfactual(whole, do={"a": 1.0})
    assert close(cf.mean("x"), known.mean("x")) and close(cf.mean("y"), known.mean("y"))
    assert cf.mean("y").shape == (50, 2)


# -- fits --------------------------------------------------------------------------------------------------------------


def growth(explicit):
    def program(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        spread = pyro.sample("spread", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            x = pyro.sample("x", dist.Normal(0.0, 1.0))
            if explicit:
                u = pyro.sample("u", dist.Normal(0.0, 1.0))
                pyro.deterministic("y", torch.exp(slope * x + spread * u))
            else:
                pyro.sample("y", dist.LogNormal(slope * x, spread))

    return program


def test_fits_go_through_the_solved_noise():
    implicit, explicit = pcm.SCM(growth(False)), pcm.SCM(growth(True))
    frame = implicit.given(slope=0.7, spread=0.5).sample(200, seed=0)
    first, other = (scm.fit(frame, seed=0, draws=50, progress=False) for scm in (implicit, explicit))
    for name in ("slope", "spread"):
        assert close(other.posterior[name].numpy(), first.posterior[name].numpy(), 1e-6), name
    cf, known = (scm.counterfactual(frame, do={"x": 1.0}) for scm in (other, first))
    assert close(cf.mean("y"), known.mean("y"), 1e-5) and close(cf.sd("y"), known.sd("y"), 1e-5)


def path(explicit):
    def program(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        spread = pyro.sample("spread", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            x = pyro.sample("x", dist.Normal(0.5 * a, 1.0))
            if explicit:
                y = pyro.deterministic("y", slope * x + spread * pyro.sample("u", dist.Normal(0.0, 1.0)))
            else:
                y = pyro.sample("y", dist.Normal(slope * x, spread))
            pyro.sample("z", dist.Normal(y - a, 0.6))

    return program


def test_fits_integrate_the_rest_of_the_holes_out():
    """The likelihood, its gradient and curvature are those of the program with its noise built in."""
    frame = pcm.SCM(path(False)).given(slope=0.7, spread=0.5).sample(60, seed=0)
    frame = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.25)
    found = []
    for explicit in (False, True):
        target, marginal = target_of(Model(Program(path(explicit))), frame)
        at = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.3, 0.8)]
        density = target.log_density(dict(zip(("slope", "spread"), at, strict=True)))
        slopes = torch.autograd.grad(density, at, create_graph=True)
        bends = [torch.autograd.grad(slope, at, retain_graph=True)[place] for place, slope in enumerate(slopes)]
        found.append(np.array([float(part.detach()) for part in (density, *slopes, *bends)]))
    assert close(found[1], found[0], 1e-9)
    assert marginal is not None and "solved from y" in marginal.account[0]


def test_a_fit_with_two_noises_in_one_column_integrates_one_of_them():
    """x = s exp(p/2) u: ∫ φ(p) φ(u) |∂u/∂x| dp."""

    def program(n):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            p = pyro.sample("p", dist.Normal(0.0, 1.0))
            pyro.deterministic("x", scale * torch.exp(0.5 * p) * pyro.sample("u", dist.Normal(0.0, 1.0)))

    def likelihood(x, scale):
        def density(p):
            return stats.norm.pdf(p) * stats.norm.pdf(x, scale=scale * np.exp(0.5 * p))

        return np.log(integrate.quad(density, -9, 9, epsabs=1e-13)[0])

    data = {"x": [2.0, -0.3, 0.5]}
    target, _ = target_of(Model(Program(program)), data)
    for scale in (0.5, 2.0):
        truth = sum(likelihood(x, scale) for x in data["x"]) + stats.halfnorm.logpdf(scale)
        with torch.no_grad():
            found = target.log_density({"scale": torch.tensor(scale, dtype=torch.float64)})
        assert float(found) == pytest.approx(truth, abs=1e-7)


def test_fits_check_columns_that_nothing_missing_stands_above():
    def program(n):
        slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
        with pyro.plate("units", n):
            a = pyro.sample("a", dist.Normal(0.0, 1.0))
            double = pyro.deterministic("double", 2 * a)
            pyro.sample("y", dist.Normal(slope * double, 1.0))

    scm, data = pcm.SCM(program), {"a": [0.5, 1.0], "double": [1.0, np.nan], "y": [1.0, 3.0]}
    whole = scm.fit({"a": data["a"], "y": data["y"]}, method="laplace", seed=0, draws=8, progress=False)
    holes = scm.fit(data, method="laplace", seed=0, draws=8, progress=False)
    assert close(holes.posterior["slope"].numpy(), whole.posterior["slope"].numpy())
    with pytest.raises(EvidenceError, match="'double' contradicts the program"):
        scm.fit({**data, "double": [np.nan, 2.5]}, progress=False)
    with pytest.raises(EvidenceError, match="'double' contradicts the program"):
        scm.fit({**data, "double": [np.nan, 2.5], "y": [np.nan, 3.0]}, progress=False)


def test_fits_refuse_what_is_not_one_to_one():
    def program(n):
        scale = pyro.sample("scale", dist.HalfNormal(1.0))
        with pyro.plate("units", n):
            pyro.deterministic("x", scale * pyro.sample("u", dist.Normal(0.0, 1.0)) ** 2)

    with pytest.raises(EvidenceError, match="both rises and falls with 'u'"):
        pcm.SCM(program).fit({"x": [1.0, 2.0]}, progress=False)


# -- discrete ----------------------------------------------------------------------------------------------------------


def test_firing_squad_from_the_prisoner_is_dead_alone():
    cf = pcm.SCM(firing_squad.program).counterfactual({"D": [1.0]}, do={"A": 0})
    assert 1 - cf.mean("D")[0] == pytest.approx(firing_squad.truth["P(not D had A held his fire | D)"][0], abs=1e-12)
    dead = 1 - (1 - firing_squad.ORDER) * (1 - firing_squad.NERVOUS)
    assert cf.mean("U", "factual")[0] == pytest.approx(firing_squad.ORDER / dead, abs=1e-12)
    assert cf.mean("D", "factual")[0] == 1.0


def test_mixed_cells_and_units():
    """Rifle B silent: no order. The rest differs from unit to unit."""
    data = {"B": [0.0, np.nan], "D": [1.0, np.nan], "A": [np.nan, 1.0]}
    cf = pcm.SCM(firing_squad.program).counterfactual(data, do={"A": 0})
    p, q = firing_squad.ORDER, firing_squad.NERVOUS
    assert cf.mean("W", "factual") == pytest.approx([1.0, q / (1 - (1 - p) * (1 - q))], abs=1e-12)
    assert cf.mean("D") == pytest.approx([0.0, p / (1 - (1 - p) * (1 - q))], abs=1e-12)


# -- refusals ----------------------------------------------------------------------------------------------------------


def of(*columns):
    """A program of two noises and these columns."""

    def program():
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(0.0, 1.0))
        for place, column in enumerate(columns):
            pyro.deterministic(f"x{place}", column(a, b))

    return pcm.SCM(program)


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (lambda a, b: b**2, 1.0, "both rises and falls with 'b'"),
        (lambda a, b: torch.sin(3 * b) + 0 * a, 0.5, "both rises and falls with 'b'"),
        (lambda a, b: torch.relu(b), 1.0, "does not change with 'b'"),
        (lambda a, b: (b > 0) * 1.0, 1.0, "does not change with 'b'"),
    ],
)
def test_what_is_not_one_to_one_is_refused(column, value, words):
    with pytest.raises(EvidenceError, match=words):
        of(column).counterfactual({"x0": [value]}, do={"a": 0.0})


def test_a_column_whose_parents_are_known_is_checked():
    scm = of(lambda a, b: a + b, lambda a, b: 2 * a)
    with pytest.raises(EvidenceError, match=r"'x1' contradicts the program.*row u") as caught:
        scm.counterfactual(_frame(a=[1.0, 1.0], x0=[1.0, 3.0], x1=[2.0, 2.5]), do={"a": 0.0})
    assert caught.value.column == "x1"
    cf = scm.counterfactual(_frame(a=[1.0, 1.0], x0=[1.0, 3.0], x1=[2.0, np.nan]), do={"a": 0.0})
    assert cf.mean("x0") == pytest.approx([0.0, 2.0])
    with pytest.raises(EvidenceError, match=r"'x1' contradicts the program.*row u"):  # nothing missing but a cell
        scm.counterfactual(_frame(a=[1.0, 1.0], b=[0.0, 2.0], x1=[np.nan, 2.5]), do={"a": 0.0})


def _frame(**columns):
    import pandas as pd

    return pd.DataFrame(columns, index=["t", "u"])


def test_columns_that_contradict_each_other_or_cannot_be_are_impossible():
    with pytest.raises(EvidenceError, match="x1 cannot be what was observed"):
        of(lambda a, b: b, lambda a, b: 2 * b).counterfactual({"x0": [1.0], "x1": [3.0]}, do={"a": 0.0})
    agreed = of(lambda a, b: b, lambda a, b: 2 * b).counterfactual({"x0": [1.0], "x1": [2.0]}, do={"b": 0.0})
    assert agreed.mean("b", "factual")[0] == 1.0
    with pytest.raises(EvidenceError, match="x0 cannot be what was observed"):
        of(lambda a, b: torch.exp(b)).counterfactual({"x0": [-1.0]}, do={"a": 0.0})


def test_mixing_cells_is_refused():
    def program():
        u = pyro.sample("u", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.deterministic("x", u @ torch.tensor([[1.0, 0.5], [0.0, 1.0]]))

    with pytest.raises(EvidenceError, match="mixes the cells of 'u'"):
        pcm.SCM(program).counterfactual({"x": [[1.0, 2.0]]}, do={"u": np.zeros((1, 2))})
