"""The families of predictors beside the libraries that could have stood in their place: error, intervals, time.

``python -m tests.bench.families`` prints a Markdown table: root mean squared error against the true mean, share of new
outcomes that 90 % intervals hold, their mean width, seconds to fit and to predict. A family's members are functions,
which answer every copy of a row alike; what the libraries give is a mean and an interval a row.

>>> sorted(systems())[:2]
['crepes, split conformal, the same trees', 'gpytorch, as many inducing inputs']
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from pcm.predict.families import Family, GaussianProcess, Linear, Network, Trees
from pcm.predict.families.linear import Scale
from pcm.predict.prediction import Prediction

__all__ = ["main", "systems"]

#: Mean (row,) and interval (row, 2) of new rows.
Answer = tuple[np.ndarray, np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray], Callable[[np.ndarray], Answer]]
_Z = 1.6448536269514722


def systems() -> dict[str, Fit]:
    """From rows to what answers new ones, by name."""
    return {
        "pcm, gp": _ours(GaussianProcess()),
        "scikit-learn, exact on 500 of the rows": _exact,
        "gpytorch, as many inducing inputs": _gpytorch,
        "pcm, network": _ours(Network()),
        "scikit-learn, three MLPRegressor, their features": _perceptrons,
        "pcm, trees": _ours(Trees()),
        "MAPIE, CV+, the same trees": _mapie,
        "crepes, split conformal, the same trees": _crepes,
    }


def _ours(family: Family) -> Fit:
    def fit(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
        fitted = family.fit(x, y)

        def answer(new: np.ndarray) -> Answer:
            found = fitted.members(new, 16)
            assert found.noise is not None
            law = Prediction(found.mean[:, None], found.noise)
            return law.mean, law.interval(0.9)

        return answer

    return fit


def _gaussian(mean: np.ndarray, sd: np.ndarray) -> Answer:
    return mean, np.stack([mean - _Z * sd, mean + _Z * sd], 1)


def _exact(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    lengths: Any = RBF
    kernel = ConstantKernel(1.0, (1e-3, 1e4)) * lengths(np.full(x.shape[1], 2.0), (1e-2, 1e4)) + WhiteKernel(0.5)
    found = GaussianProcessRegressor(kernel, normalize_y=True).fit(x[:500], y[:500])
    return lambda new: _gaussian(*found.predict(new, return_std=True))


def _gpytorch(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
    import gpytorch

    class Model(gpytorch.models.ExactGP):
        def __init__(self, x: Any, y: Any, likelihood: Any) -> None:
            super().__init__(x, y, likelihood)
            self.mean_module = gpytorch.means.ConstantMean()
            kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel(ard_num_dims=x.shape[1]))
            self.covar_module = gpytorch.kernels.InducingPointKernel(kernel, x[:500].clone(), likelihood)

        def forward(self, x: Any) -> Any:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    rows, values = torch.from_numpy(x), torch.from_numpy(y)
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    model = Model(rows, values, likelihood).double()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    for _ in range(50):
        optimiser.zero_grad()
        (-objective(model(rows), values)).backward()
        optimiser.step()
    model.eval()
    likelihood.eval()

    def answer(new: np.ndarray) -> Answer:
        with torch.no_grad():
            law = likelihood(model(torch.from_numpy(new)))
            return _gaussian(law.mean.numpy(), law.variance.sqrt().numpy())

    return answer


def _perceptrons(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
    from sklearn.neural_network import MLPRegressor

    scale, made = Scale.of(x), []
    for seed in range(3):
        net = MLPRegressor(
            hidden_layer_sizes=(64, 32),
            activation="tanh",
            learning_rate_init=3e-3,
            batch_size=min(256, len(x)),
            max_iter=400,
            n_iter_no_change=20,
            random_state=seed,
        ).fit(scale(x), (y - y.mean()) / y.std())

        def features(rows: np.ndarray, net: Any = net) -> np.ndarray:
            rows = scale(rows)
            for weights, bias in zip(net.coefs_[:-1], net.intercepts_[:-1], strict=True):
                rows = np.tanh(rows @ weights + bias)
            return rows

        made.append((features, Linear().fit(features(x), y, seed=seed)))

    def answer(new: np.ndarray) -> Answer:
        found = [head.members(features(new), 6) for features, head in made]
        noise = np.concatenate([np.repeat(np.asarray(each.noise), len(each.mean), 0) for each in found])
        law = Prediction(np.concatenate([each.mean for each in found])[:, None], noise)
        return law.mean, law.interval(0.9)

    return answer


def _trees() -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    ours = Trees()
    return HistGradientBoostingRegressor(
        max_iter=ours.max_iter,
        learning_rate=ours.learning_rate,
        max_leaf_nodes=ours.max_leaf_nodes,
        early_stopping=True,
        random_state=0,
    )


def _mapie(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
    from mapie.regression import CrossConformalRegressor

    found = CrossConformalRegressor(_trees(), confidence_level=0.9, method="plus", cv=Trees().folds, random_state=0)
    found.fit_conformalize(x, y)

    def answer(new: np.ndarray) -> Answer:
        mean, ends = found.predict_interval(new)
        return mean, ends[:, :, 0]

    return answer


def _crepes(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], Answer]:
    from crepes import WrapRegressor

    half = len(x) // 2
    found = WrapRegressor(_trees())
    found.fit(x[:half], y[:half])
    found.calibrate(x[half:], y[half:])
    return lambda new: (found.predict(new), found.predict_int(new, confidence=0.9))


def _rows(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, outcome, and its true mean."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 4))
    mean = np.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2] + 0.5 * x[:, 3]
    return x, mean + 0.5 * rng.standard_t(5, size=count), mean


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000)
    count = parser.parse_args().rows
    torch.set_num_threads(1)
    (x, y, _), (new, later, mean) = _rows(count, 0), _rows(4_000, 1)
    print("| | error | 90 % intervals hold | their width | fit, s | predict, s |")
    print("|---|--:|--:|--:|--:|--:|")
    for name, fit in systems().items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            begun = time.process_time()
            answer = fit(x, y)
            fitted = time.process_time()
            found, ends = answer(new)
            done = time.process_time()
        error = np.sqrt(((found - mean) ** 2).mean())
        held = ((ends[:, 0] <= later) & (later <= ends[:, 1])).mean()
        width = (ends[:, 1] - ends[:, 0]).mean()
        times = f"{fitted - begun:.1f} | {done - fitted:.2f}"
        print(f"| {name} | {error:.3f} | {held:.3f} | {width:.2f} | {times} |", flush=True)


if __name__ == "__main__":
    main()
