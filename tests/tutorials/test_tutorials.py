"""Every tutorial runs from top to bottom as a script, reads as a notebook, and ends in assertions."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import jupytext
import matplotlib
import pytest

FOLDER = Path(__file__).parents[2] / "tutorials"
TUTORIALS = sorted(FOLDER.glob("*.py"))


@pytest.fixture(params=TUTORIALS, ids=lambda path: path.stem)
def tutorial(request) -> Path:
    return request.param


def test_there_are_tutorials():
    assert [path.stem[:3] for path in TUTORIALS] == [f"{number:02d}_" for number in range(1, len(TUTORIALS) + 1)]
    assert len(TUTORIALS) >= 4


def test_it_runs(tutorial, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    matplotlib.use("Agg")
    runpy.run_path(str(tutorial), run_name="__main__")
    assert capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []  # a tutorial leaves nothing behind


def test_it_is_a_notebook_that_ends_in_assertions(tutorial):
    cells = jupytext.read(tutorial, fmt="py:percent").cells
    words = [cell.source for cell in cells if cell.cell_type == "markdown"]
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert words[0].startswith("# ")
    assert len(words) >= 8
    assert re.search(r"^## What we know to be true", "\n".join(words), re.MULTILINE)
    assert any(isinstance(node, ast.Assert) for node in ast.parse(code[-1]).body)
    assert max(source.count("\n") for source in code) < 25  # short cells


def test_it_shows_an_error_one_may_meet(tutorial):
    source = tutorial.read_text("utf-8")
    assert "except pcm.PCMError as error" in source
    assert "an error was expected" in source  # and fails where there is none
