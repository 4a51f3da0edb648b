"""Noise-aware fits by the collapsed likelihood: a covariate with Laplace noise at N = 10,000, one clipped,
answers at n = 5,000."""

from __future__ import annotations

import pytest

from tests.bench.private_inference import ROWS, timed

pytestmark = pytest.mark.bench

LIMITS = dict(zip(ROWS, (0.6, 1.2, 2.5, 0.6), strict=True))  # CPU seconds


@pytest.mark.parametrize("row", ROWS)
def test_private_inference(row: str) -> None:
    truth, ours = ROWS[row]
    seconds, (mean, sd) = timed(ours)
    print(f"\n{row}: {mean:.3f} ± {sd:.3f} (truth {truth:.3f}) in {seconds:.2f} CPU s")
    assert abs(mean - truth) < 4 * sd
    assert seconds <= LIMITS[row]
