"""DP-SGD: the ledger's cost is Opacus's, nothing trains unpaid, and the network learns what it should."""

from __future__ import annotations

import math
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import pcm
from pcm import private
from pcm.private.composition import Loss, by_loss_distributions, by_renyi
from pcm.private.training import event_of

pytest.importorskip("opacus")


def accountant(noise: float, sampling: float, steps: int, delta: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import RDPAccountant

        made = RDPAccountant()
        made.history = [(noise, sampling, steps)]
        return made.get_epsilon(delta)


@pytest.mark.parametrize(("noise", "sampling", "steps"), [(1.5, 0.04, 2250), (1.1, 0.01, 1000), (4.0, 0.2, 50)])
def test_the_cost_is_what_opacus_says(noise, sampling, steps) -> None:
    losses = [Loss(event_of(noise_multiplier=noise, sampling=sampling, steps=steps), "add_remove")]
    renyi = by_renyi(losses, 1e-5)
    assert renyi == pytest.approx(accountant(noise, sampling, steps, 1e-5), rel=0.02)
    assert by_loss_distributions(losses, 1e-5) < renyi
    if (noise, sampling, steps) == (1.5, 0.04, 2250):
        assert renyi == pytest.approx(7.329, abs=1e-3)


def rows(n: int = 2_000) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = 2 * torch.rand(n, 1, generator=generator) - 1
    return x, torch.sin(2 * x) + 0.1 * torch.randn(n, 1, generator=generator)


def squared(out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (out - y).square()[:, 0]


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))


def test_a_private_network_is_a_mechanism_of_a_program() -> None:
    x, y = rows()
    net, ledger = network(), private.Ledger(epsilon=8.0, delta=1e-5, neighbouring="add_remove")
    options = {"noise_multiplier": 1.0, "batch": 100, "epochs": 10, "learning_rate": 0.02}
    done = private.dp_sgd(net, x, y, ledger, name="response", loss=squared, seed=0, **options)  # pyright: ignore
    assert (done.steps, done.sampling) == (200, 0.05)
    assert ledger.spent <= accountant(1.0, 0.05, 200, 1e-5) * 1.001 and ledger.spent > 1.0
    net.double()

    def response():
        dose = pyro.sample("dose", dist.Uniform(-1.0, 1.0))
        pyro.sample("effect", dist.Normal(net(dose[:, None])[:, 0], 0.1))

    effect = pcm.ate(pcm.SCM(response), "dose", "effect", treated=0.5, control=-0.5, seed=0, units=1_000)
    assert float(effect) == pytest.approx(2 * math.sin(1.0), abs=0.25)
    assert all(not hasattr(leaf, "grad_sample") or leaf.grad_sample is None for leaf in net.parameters())


@pytest.mark.parametrize("method", ["dp_sgd", "DP-SGD", "opacus"])
def test_fit_names_the_function_that_trains_privately(method) -> None:
    def coin(n):
        p = pyro.sample("p", dist.Beta(1.0, 1.0))
        with pyro.plate("units", n):
            pyro.sample("x", dist.Bernoulli(p))

    with pytest.raises(pcm.errors.UnknownNameError, match=r"private\.dp_sgd\(net, inputs, targets, ledger"):
        pcm.SCM(coin).fit({"x": [1.0, 0.0]}, method)


def test_nothing_is_trained_where_the_budget_does_not_suffice() -> None:
    x, y = rows(500)
    net, ledger = network(), private.Ledger(epsilon=0.1, delta=1e-5)
    before = [leaf.clone() for leaf in net.parameters()]
    with pytest.raises(pcm.errors.BudgetError, match="Nothing was released"):
        private.dp_sgd(net, x, y, ledger, name="net", loss=squared, noise_multiplier=1.0)
    assert all(torch.equal(old, new) for old, new in zip(before, net.parameters(), strict=True))
    assert ledger.spent == 0.0


def test_what_mixes_rows_or_is_no_number_is_refused_before_the_debit() -> None:
    x, y = rows(200)
    ledger = private.Ledger(epsilon=9.0, delta=1e-5)
    mixing = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    with pytest.raises(pcm.errors.FitError, match="BatchNorm"):
        private.dp_sgd(mixing, x, y, ledger, name="net", loss=squared, noise_multiplier=1.0)
    with pytest.raises(pcm.errors.DataError, match="not finite"):
        private.dp_sgd(network(), x / 0, y, ledger, name="net", loss=squared, noise_multiplier=1.0)
    with pytest.raises(pcm.errors.ArgumentError, match="noise_multiplier"):
        private.dp_sgd(network(), x, y, ledger, name="net", loss=squared, noise_multiplier=0.0)
    assert ledger.spent == 0.0 and len(ledger.statement()) == 0
