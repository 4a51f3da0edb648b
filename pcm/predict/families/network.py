"""Neural networks whose last layer is Bayesian, or several of them.

The network's last hidden layer gives features ``φ(x)``; given them, the last layer's posterior is that of a Bayesian
linear regression (a number: exact, evidence-maximised) or Laplace's approximation to a logistic one (classes):
last-layer Laplace (Kristiadi, Hein & Hennig 2020; Daxberger et al. 2021). ``ensemble`` networks from other starts add
what the features leave open (Lakshminarayanan, Pritzel & Blundell 2017); they are trained side by side, in one batch.

The last layer is :class:`Linear`, so scikit-learn's. The training loop is own code: laplace-torch does not install
beside a CPU build of torch, and features of scikit-learn's perceptrons leave more error (``python -m
tests.bench.families``).

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
from torch import Tensor, nn

from pcm.predict.families.family import Array, Family, Fitted, Members, by_member, checked
from pcm.predict.families.linear import Linear, Scale

__all__ = ["Network"]

#: Weights ``(…, before, after)`` and biases ``(…, 1, after)``.
Layers = list[tuple[Tensor, Tensor]]


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
        body = self._train(scale(x), y, classes, seed)
        features = _features(body, scale(x)[None])
        heads = [Linear().fit(each, y, classes=classes, seed=seed + k) for k, each in enumerate(features)]
        return _NetworkFit(scale, body, heads)

    def _train(self, x: Array, y: Array, classes: int | None, seed: int) -> Layers:
        """The hidden layers of every network, trained at once: a leading dim ``member``."""
        rng, held = np.random.default_rng(seed), max(len(x) // 10, 1)
        orders = torch.from_numpy(np.stack([rng.permutation(len(x)) for _ in range(self.ensemble)]))
        inputs, members = torch.from_numpy(x), torch.arange(self.ensemble)[:, None]
        if classes is None:
            target: Tensor = torch.from_numpy((y - y.mean()) / (y.std() or 1.0))
        else:
            target = torch.from_numpy(y).long()

        def losses(rows: Tensor) -> Tensor:
            out = _run(layers, inputs[rows], last=False)
            if classes is None:
                return (out[..., 0] - target[rows]).square().mean(1)
            return nn.functional.cross_entropy(out.movedim(-1, 1), target[rows], reduction="none").mean(1)

        widths, layers = (x.shape[1], *self.hidden, classes or 1), []
        for before, after in itertools.pairwise(widths):
            size = before**-0.5
            drawn = rng.uniform(-size, size, (self.ensemble, before + 1, after))
            layers.append((torch.from_numpy(drawn[:, :-1].copy()), torch.from_numpy(drawn[:, -1:].copy())))
        weights = [each.requires_grad_() for layer in layers for each in layer]
        optimiser = torch.optim.Adam(weights, lr=self.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        best, waited = torch.full((self.ensemble,), torch.inf).double(), torch.zeros(self.ensemble)
        kept = [each.detach().clone() for each in weights]
        count = len(x) - held
        with torch.enable_grad():
            for step in range(self.steps):
                places = rng.integers(count, size=(self.ensemble, min(self.batch, count)))
                optimiser.zero_grad()
                losses(orders[members, held + torch.from_numpy(places)]).sum().backward()
                optimiser.step()
                schedule.step()
                if step % 50 == 49 or step == self.steps - 1:
                    with torch.no_grad():
                        now = losses(orders[:, :held])
                        better = now < best
                        for mine, each in zip(kept, weights, strict=True):
                            mine[better] = each[better]
                    best, waited = torch.where(better, now, best), torch.where(better, 0, waited + 1)
                    if (waited >= 10).all():
                        break
        return [(kept[k], kept[k + 1]) for k in range(0, len(kept) - 2, 2)]


@dataclass(frozen=True)
class _NetworkFit(Fitted):
    scale: Scale
    body: Layers
    heads: list[Fitted]

    def members(self, x: Array, count: int) -> Members:
        x = by_member(x, count)
        rows = self.scale(x if x.shape[2] else np.zeros((*x.shape[:2], 1)))
        found = []
        for place, (head, share) in enumerate(
            zip(self.heads, np.array_split(np.arange(count), len(self.heads)), strict=True)
        ):
            if len(share):
                body = [(weight[place], bias[place]) for weight, bias in self.body]
                found.append(head.members(_features(body, rows if len(rows) == 1 else rows[share]), len(share)))
        mean = np.concatenate([each.mean for each in found])
        if found[0].noise is None:
            return Members(mean)
        noise = [np.repeat(each.noise, len(each.mean), 0) for each in found if each.noise is not None]
        return Members(mean, np.concatenate(noise))


def _run(layers: Layers, x: Tensor, *, last: bool) -> Tensor:
    """Through the layers, ``(…, row, unit)``; ``last`` says whether the last of them is followed by a unit's bend."""
    for place, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        if last or place < len(layers) - 1:
            x = nn.functional.silu(x)
    return x


def _features(body: Layers, x: Array) -> Array:
    with torch.no_grad():
        return _run(body, torch.from_numpy(np.ascontiguousarray(x)), last=True).numpy()
