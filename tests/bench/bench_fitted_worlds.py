"""Worlds under a fit share each draw's factual run; discrete effects under a fit compute what they rest on once."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.fitted_worlds import compare, effects, line

pytestmark = pytest.mark.bench


def test_worlds_asked_together_are_to_the_bit_what_they_are_alone() -> None:
    made = compare(None)
    print(f"\n{line(made, None)}")
    assert np.array_equal(made["together"][2], made["one by one"][2])
    assert made["together"][0] < made["one by one"][0]


def test_discrete_effects_are_exact_under_each_draw() -> None:
    for name, (seconds, found) in effects().items():
        print(f"\n{name}: {found!r}, {seconds:.1f} s")
        assert "draws of noise" not in str(found.account.worlds)
