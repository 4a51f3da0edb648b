"""Gaussian processes: functions drawn whole from the posterior.

Kernel ``s² exp(-½ Σ_d (x_d - x'_d)² / l_d²)``, its parameters by marginal likelihood (scikit-learn, on at most
``most`` rows). A number's posterior uses every row through ``m`` inducing inputs (Titsias 2009, the optimal Gaussian
``q(u)``); classes use Laplace's approximation on the same rows as the kernel (Rasmussen & Williams 2006, §3.4), one
against the rest. Draws are functions, by Matheron's rule (Wilson et al. 2020): a draw ``g`` of the prior from random
Fourier features, mended at the inducing inputs, ``f(x) = g(x) + K_xz K_zz⁻¹ (u - g(z))``.

The sparse posterior and its draws are own code: scikit-learn's process is exact only, and neither it nor gpytorch
draws *functions*, which many copies of a row share (theirs are joint draws over one batch of rows, cubic in its size);
gpytorch's fit is also slower by far (``python -m tests.bench.families``).

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x = rng.uniform(-3, 3, size=(300, 1))
>>> fitted = GaussianProcess().fit(x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=300))
>>> inside, outside = (fitted.members(np.array([[at]]), 200).mean[:, 0] for at in (1.0, 9.0))
>>> bool(abs(inside.mean() - np.sin(1.0)) < 0.05), bool(outside.std() > 5 * inside.std())
(True, True)
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from pcm.predict.families.family import Array, Family, Fitted, Members, by_member, checked, gaussian_atoms
from pcm.predict.families.linear import Scale

__all__ = ["GaussianProcess"]

Places = NDArray[np.int64]

#: Of random Fourier features, a cosine and a sine each: the prior's variance is then exact everywhere.
_FREQUENCIES = 256
_JITTER = 1e-8


@dataclass(frozen=True)
class GaussianProcess(Family):
    """Gaussian process regression, or classification by Laplace's approximation.

    Parameters
    ----------
    most : int
        Rows that the kernel's parameters are learned on (for classes: all that is learned from), at random.
    inducing : int
        Inducing inputs through which every row is used; fewer rows than that are used exactly.
    """

    most: int = 500
    inducing: int = 500
    name = "gp"

    def fit(self, x: Array, y: Array, *, classes: int | None = None, seed: int = 0) -> Fitted:
        x, y = checked(x, y, classes, least=5)
        if x.shape[1] == 0:
            x = np.zeros((len(x), 1))
        scale, order = Scale.of(x), np.random.default_rng(seed).permutation(len(x))
        some, at = order[: self.most], order[: self.inducing]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound: an input that does not matter
            if classes is None:
                return _regression(scale, scale(x), y, some, at, seed)
            return _classification(scale, scale(x[some]), y[some], classes, seed)


@dataclass(frozen=True)
class _Process:
    """Functions drawn from one posterior: ``factor`` times white noise, plus ``center``, are the values at ``at``."""

    amplitude: float
    lengths: Array
    at: Array
    lower: Array  # Cholesky factor of the kernel at ``at``
    center: Array
    factor: Array

    def functions(self, x: Array, count: int, rng: np.random.Generator) -> Array:
        """Draws at ``(member or 1, row, input)``: ``(member, row)``."""
        frequencies = rng.standard_normal((x.shape[2], _FREQUENCIES)) / self.lengths[:, None]
        cosines, sines = rng.standard_normal((2, _FREQUENCIES, count)) * np.sqrt(self.amplitude / _FREQUENCIES)

        def prior(rows: Array, which: slice) -> Array:
            angles = torch.from_numpy(rows @ frequencies)  # numpy's float64 cosine takes three times as long
            return angles.cos().numpy() @ cosines[:, which] + angles.sin().numpy() @ sines[:, which]

        values = self.center[:, None] + self.factor @ rng.standard_normal((self.factor.shape[1], count))
        mended = solve_triangular(self.lower, values - prior(self.at, slice(None)), lower=True)
        mended = solve_triangular(self.lower.T, mended, lower=False)
        out = np.empty((count, x.shape[1]))
        for member, own in enumerate(x):
            which = slice(None) if len(x) == 1 else slice(member, member + 1)
            for start in range(0, x.shape[1], 4_096):
                rows = own[start : start + 4_096]
                out[which, start : start + 4_096] = (prior(rows, which) + self.kernel(rows) @ mended[:, which]).T
        return out

    def kernel(self, x: Array) -> Array:
        return _kernel(self.amplitude, self.lengths, x, self.at)


@dataclass(frozen=True)
class _Regression(Fitted):
    scale: Scale
    process: _Process
    middle: float
    sd: float
    seed: int

    def members(self, x: Array, count: int) -> Members:
        rows = _placed(self.scale, by_member(x, count))
        found = self.process.functions(rows, count, np.random.default_rng(self.seed))
        return Members(self.middle + found, gaussian_atoms(self.sd))


@dataclass(frozen=True)
class _Classification(Fitted):
    scale: Scale
    processes: dict[int, _Process]  # class to the process of its log odds
    classes: int
    only: int | None
    seed: int

    def members(self, x: Array, count: int) -> Members:
        rows, rng = _placed(self.scale, by_member(x, count)), np.random.default_rng(self.seed)
        chance = np.zeros((count, rows.shape[1], self.classes))
        if self.only is not None:
            chance[..., self.only] = 1.0
            return Members(chance)
        for code, process in self.processes.items():
            chance[..., code] = expit(process.functions(rows, count, rng))
        if len(self.processes) == 1:  # two classes: the other one is what is left
            (code,) = self.processes
            other = min({0, 1} - {code})
            chance[..., other] = 1 - chance[..., code]
        return Members(chance / chance.sum(-1, keepdims=True))


def _placed(scale: Scale, x: Array) -> Array:
    return scale(x if x.shape[2] else np.zeros((*x.shape[:2], 1)))


def _kernel(amplitude: float, lengths: Array, x: Array, z: Array) -> Array:
    x, z = x / lengths, z / lengths
    apart = (x**2).sum(1)[:, None] + (z**2).sum(1) - 2 * x @ z.T
    return amplitude * np.exp(-0.5 * np.maximum(apart, 0.0))


def _learn(found: Any) -> tuple[float, Array]:
    """Amplitude (a variance) and lengths of a fitted scikit-learn kernel ``Constant * RBF [+ White]``."""
    product = found.k1 if isinstance(found.k2, WhiteKernel) else found
    return float(product.k1.constant_value), np.atleast_1d(product.k2.length_scale)


def _start(inputs: int) -> Any:
    lengths: Any = RBF  # its annotations know one length only
    return ConstantKernel(1.0, (1e-3, 1e4)) * lengths(np.full(inputs, 2.0), (1e-2, 1e4))


def _regression(scale: Scale, x: Array, y: Array, some: Places, at: Places, seed: int) -> Fitted:
    middle, size = float(y.mean()), float(y.std()) or 1.0
    kernel = _start(x.shape[1]) + WhiteKernel(0.5, (1e-6, 1e2))
    learned: Any = GaussianProcessRegressor(kernel, random_state=seed).fit(x[some], (y[some] - middle) / size).kernel_
    amplitude, lengths = _learn(learned)
    variance = float(learned.k2.noise_level)
    z = x[at]
    lower = cholesky(_kernel(amplitude, lengths, z, z) + _JITTER * amplitude * np.eye(len(z)), lower=True)
    # Titsias: with A = L⁻¹ K_zx / σ and B = I + A Aᵀ, q(u) is Normal(L B⁻¹ A y / σ, L B⁻¹ Lᵀ)
    gram, moment = np.eye(len(z)), np.zeros(len(z))
    for start in range(0, len(x), 4_096):
        part = slice(start, start + 4_096)
        a = solve_triangular(lower, _kernel(amplitude, lengths, z, x[part]), lower=True)
        gram += a @ a.T / variance
        moment += a @ ((y[part] - middle) / size) / variance
    root = cholesky(gram, lower=True)
    center = lower @ solve_triangular(root.T, solve_triangular(root, moment, lower=True), lower=False)
    factor = lower @ solve_triangular(root.T, np.eye(len(z)), lower=False)
    process = _Process(amplitude * size**2, lengths, z, lower * size, center * size, factor * size)
    return _Regression(scale, process, middle, size * variance**0.5, seed)


def _classification(scale: Scale, x: Array, y: Array, classes: int, seed: int) -> Fitted:
    present = np.unique(y).astype(int)
    if len(present) == 1:
        return _Classification(scale, {}, classes, int(present[0]), seed)
    against = [int(present[1])] if classes == 2 else [int(code) for code in present]
    processes = {code: _log_odds(x, (y == code) * 1.0, seed) for code in against}
    return _Classification(scale, processes, classes, None, seed)


def _log_odds(x: Array, y: Array, seed: int) -> _Process:
    learned: Any = GaussianProcessClassifier(_start(x.shape[1]), random_state=seed).fit(x, y).base_estimator_
    amplitude, lengths = _learn(learned.kernel_)
    gram = _kernel(amplitude, lengths, x, x) + _JITTER * amplitude * np.eye(len(x))
    # the posterior at the rows: mode f, covariance (K⁻¹ + W)⁻¹ = K - K S B⁻¹ S K with S = W^½, B = I + S K S
    mode = gram @ (learned.y_train_ - learned.pi_)
    root = np.sqrt(learned.pi_ * (1 - learned.pi_))
    inner = cholesky(np.eye(len(x)) + root[:, None] * gram * root, lower=True)
    shrink = solve_triangular(inner, root[:, None] * gram, lower=True)
    covariance = gram - shrink.T @ shrink
    factor = cholesky(covariance + 1e-8 * amplitude * np.eye(len(x)), lower=True)
    return _Process(amplitude, lengths, x, cholesky(gram, lower=True), mode, factor)
