"""Discrete effects under a fit compute what they rest on once."""

from __future__ import annotations

import pytest

from tests.bench.fitted_worlds import effects

pytestmark = pytest.mark.bench


def test_discrete_effects_are_exact_under_each_draw() -> None:
    for name, (seconds, found) in effects().items():
        print(f"\n{name}: {found!r}, {seconds:.1f} s")
        assert "draws of noise" not in str(found.account.worlds)
