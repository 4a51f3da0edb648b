"""A thousand scenarios of 10,000 units in one call: memory O(scenarios × units), time against torch by hand."""

from __future__ import annotations

import pytest

from tests.bench.scenarios import compare, line

pytestmark = pytest.mark.bench


@pytest.mark.parametrize("limit", [None, "200MB"])
def test_a_thousand_scenarios(limit: str | None) -> None:
    made = compare(1_000, 10_000, limit)
    print(f"\n{line(made, 1_000, 10_000, limit)}")
    assert made["pcm"]["error"] < 1e-12
    answers = 8 * 1_000 * 10_000 / 2**20
    # kept and handed out, as much again of intermediate results, and the allocator's and the program's own
    assert made["pcm"]["peak"] < 3 * answers + 150
