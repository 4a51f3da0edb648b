"""Random programs for the laws: random DAGs whose sites are of every scalar family, and linear-Gaussian ones."""

from __future__ import annotations

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pyro
import pyro.distributions as dist
import torch

FAMILIES = {
    "normal": lambda eta: dist.Normal(eta, 0.7),
    "hetero": lambda eta: dist.Normal(eta, 0.3 + torch.sigmoid(eta)),
    "student": lambda eta: dist.StudentT(4.0, eta, 0.8),
    "laplace": lambda eta: dist.Laplace(eta, 0.5),
    "gumbel": lambda eta: dist.Gumbel(eta, 0.6),
    "exponential": lambda eta: dist.Exponential(torch.exp(-torch.tanh(eta))),
    "gamma": lambda eta: dist.Gamma(2.0 + torch.sigmoid(eta), torch.exp(torch.tanh(eta))),
    "lognormal": lambda eta: dist.LogNormal(torch.tanh(eta), 0.4),
    "weibull": lambda eta: dist.Weibull(torch.exp(torch.tanh(eta)), 1.5 + torch.sigmoid(eta)),
    "beta": lambda eta: dist.Beta(1.0 + torch.sigmoid(eta), 1.5),
    "bernoulli": lambda eta: dist.Bernoulli(logits=eta),
    "poisson": lambda eta: dist.Poisson(torch.exp(torch.tanh(eta))),
    "categorical": lambda eta: dist.Categorical(logits=torch.stack([0 * eta, eta, -eta], -1)),
}
CONTINUOUS = [name for name in FAMILIES if name not in {"bernoulli", "poisson", "categorical"}]


@dataclass(frozen=True)
class Spec:
    """A random program: families and weights ``(child, parent)`` in topological order."""

    families: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def names(self) -> list[str]:
        return [f"v{place}" for place in range(len(self.families))]

    def program(self):
        def random_program():
            values = []
            for place, family in enumerate(self.families):
                eta = torch.zeros(1)
                for weight, value in zip(self.weights[place], values, strict=False):
                    if weight:
                        eta = eta + weight * torch.tanh(value)
                values.append(pyro.sample(f"v{place}", FAMILIES[family](eta)))

        return random_program


@st.composite
def specs(draw, families=tuple(FAMILIES), least=2, most=5):
    count = draw(st.integers(least, most))
    chosen = tuple(draw(st.sampled_from(list(families))) for _ in range(count))
    weight = st.one_of(st.just(0.0), st.floats(-2, 2).map(lambda x: round(x, 2)))
    return Spec(chosen, tuple(tuple(draw(weight) for _ in range(place)) for place in range(count)))


@dataclass(frozen=True)
class Linear:
    """A linear-Gaussian program ``x = B x + c + s u`` with its algebra."""

    coefficients: np.ndarray
    intercepts: np.ndarray
    scales: np.ndarray

    @property
    def names(self) -> list[str]:
        return [f"v{place}" for place in range(len(self.scales))]

    def program(self, explicit: bool = False):
        """As sample statements, or (``explicit``) as equations in noises ``u_name``."""

        def linear():
            values: list[torch.Tensor] = []
            for place, name in enumerate(self.names):
                loc = torch.as_tensor(self.intercepts[place]).clone()
                for parent, value in enumerate(values):
                    if self.coefficients[place, parent]:
                        loc = loc + self.coefficients[place, parent] * value
                if explicit:
                    noise = pyro.sample(f"u_{name}", dist.Normal(0.0, 1.0))
                    values.append(pyro.deterministic(name, loc + self.scales[place] * noise))
                else:
                    values.append(pyro.sample(name, dist.Normal(loc, self.scales[place])))

        return linear

    def counterfactual(self, x: np.ndarray, sets: dict[int, np.ndarray]) -> np.ndarray:
        """Solve the intervened equations with the noise ``u = (x - B x - c)`` kept; x is ``(unit, variable)``."""
        noise = x - x @ self.coefficients.T - self.intercepts
        kept = self.coefficients.copy()
        forced = noise + self.intercepts
        for place, value in sets.items():
            kept[place] = 0.0
            forced[:, place] = value
        return np.linalg.solve(np.eye(len(kept)) - kept, forced.T).T


@st.composite
def linears(draw):
    count = draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.random((count, count)) < 0.6
    coefficients = np.tril(rng.normal(size=(count, count)) * mask, -1)
    return Linear(coefficients, rng.normal(size=count), 0.1 + rng.random(count) * 2)
