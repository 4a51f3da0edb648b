"""The table of capabilities, run; pcm answers every row, and the README shows what came out."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.capabilities import CELLS, ROWS, markdown, run, systems, verdict

pytestmark = pytest.mark.bench

EXACT = ("normal", "bernoulli", "categorical", "skewed", "column", "cells")


def test_every_cell_is_run() -> None:
    assert set(CELLS) == {(row, system) for row in ROWS for system in systems(row)}


@pytest.mark.parametrize("row", EXACT)
def test_pcm_is_exact(row: str) -> None:
    assert verdict(replace(ROWS[row], tolerance=1e-6), CELLS[row, "pcm"][0]) == "yes"


def test_table() -> None:
    found = run()
    table = markdown(found)
    print(f"\n\n{table}\n")
    assert {row for row in ROWS if found[row, "pcm"] != "yes"} == set()
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    shown = {_settled(line) for line in readme.splitlines()}
    assert [line for line in table.splitlines() if line.startswith("|") and _settled(line) not in shown] == []


def _settled(line: str) -> str:
    """A row without the sizes of errors, which are of random draws."""
    return re.sub(r" \(error [^)]*\)", "", line)
