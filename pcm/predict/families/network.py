"""Neural networks whose last layer is Bayesian, or several of them.

The network's last hidden layer gives features ``φ(x)``; given them, the last layer's posterior is that of a Bayesian
linear regression (a number: exact, evidence-maximised) or Laplace's approximation to a logistic one (classes):
last-layer Laplace (Kristiadi, Hein & Hennig 2020; Daxberger et al. 2021). ``ensemble`` networks from other starts add
what the features leave open (Lakshminarayanan, Pritzel & Blundell 2017).

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x = rng.uniform(-2, 2, size=(500, 1))
>>> fitted = Network((16,), ensemble=1, steps=500).fit(x, np.tanh(2 * x[:, 0]) + 0.1 * rng.normal(size=500))
>>> bool(abs(fitted.members(np.array([[1.0]]), 40).mean.mean() - np.tanh(2.0)) < 0.1)
True
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pcm.infer.seeding import seeded
from pcm.predict.families.family import Array, Family, Fitted, Members, by_member, checked
from pcm.predict.families.linear import Linear, Scale

__all__ = ["Network"]


@dataclass(frozen=True)
class Network(Family):
    """A multilayer perceptron with a Bayesian last layer.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers.
    ensemble : int
        Networks, each from its own start.
    steps : int
        Adam steps at most; training stops where a tenth of the rows, held out, gains no more.
    learning_rate, batch : float, int
    """

    hidden: tuple[int, ...] = (64, 32)
    ensemble: int = 3
    steps: int = 2_000
    learning_rate: float = 3e-3
    batch: int = 256
    name = "network"

    def fit(self, x: Array, y: Array, *, classes: int | None = None, seed: int = 0) -> Fitted:
        x, y = checked(x, y, classes, least=4)
        if x.shape[1] == 0:
            x = np.zeros((len(x), 1))
        scale = Scale.of(x)
        bodies, heads = [], []
        for member in range(self.ensemble):
            body = self._train(scale(x), y, classes, seed + member)
            bodies.append(body)
            heads.append(Linear().fit(_features(body, scale(x)), y, classes=classes, seed=seed + member))
        return _NetworkFit(scale, bodies, heads)

    def _train(self, x: Array, y: Array, classes: int | None, seed: int) -> nn.Module:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(x))
        held, seen = order[: max(len(x) // 10, 1)], order[max(len(x) // 10, 1) :]
        inputs = torch.from_numpy(x)
        if classes is None:
            target = torch.from_numpy((y - y.mean()) / (y.std() or 1.0))
            loss = lambda out, goal: nn.functional.mse_loss(out[:, 0], goal)  # noqa: E731
        else:
            target, loss = torch.from_numpy(y).long(), nn.functional.cross_entropy
        with seeded(seed):
            body, head = _layers(x.shape[1], self.hidden, classes or 1)
        weights = [*body.parameters(), *head.parameters()]
        optimiser = torch.optim.Adam(weights, lr=self.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        best, kept, waited = np.inf, [each.detach().clone() for each in weights], 0
        with torch.enable_grad():
            for step in range(self.steps):
                rows = torch.from_numpy(rng.choice(seen, size=min(self.batch, len(seen)), replace=False))
                optimiser.zero_grad()
                loss(head(body(inputs[rows])), target[rows]).backward()
                optimiser.step()
                schedule.step()
                if step % 50 == 49:
                    with torch.no_grad():
                        now = float(loss(head(body(inputs[held])), target[held]))
                    best, waited = (now, 0) if now < best else (best, waited + 1)
                    if waited == 0:
                        kept = [each.detach().clone() for each in weights]
                    elif waited == 10:
                        break
        with torch.no_grad():
            for each, value in zip(weights, kept, strict=True):
                each.copy_(value)
        return body.requires_grad_(False)


@dataclass(frozen=True)
class _NetworkFit(Fitted):
    scale: Scale
    bodies: list[nn.Module]
    heads: list[Fitted]

    def members(self, x: Array, count: int) -> Members:
        x = by_member(x, count)
        rows = self.scale(x if x.shape[2] else np.zeros((*x.shape[:2], 1)))
        found = [
            head.members(_features(body, rows if len(rows) == 1 else rows[share]), len(share))
            for body, head, share in zip(
                self.bodies, self.heads, np.array_split(np.arange(count), len(self.bodies)), strict=True
            )
            if len(share)
        ]
        mean = np.concatenate([each.mean for each in found])
        if found[0].noise is None:
            return Members(mean)
        noise = [np.repeat(each.noise, len(each.mean), 0) for each in found if each.noise is not None]
        return Members(mean, np.concatenate(noise))


def _layers(inputs: int, hidden: tuple[int, ...], outputs: int) -> tuple[nn.Sequential, nn.Linear]:
    widths, parts = (inputs, *hidden), []
    for before, after in itertools.pairwise(widths):
        parts += [nn.Linear(before, after, dtype=torch.float64), nn.SiLU()]
    return nn.Sequential(*parts), nn.Linear(widths[-1], outputs, dtype=torch.float64)


def _features(body: nn.Module, x: Array) -> Array:
    with torch.no_grad():
        return body(torch.from_numpy(np.ascontiguousarray(x))).numpy()
