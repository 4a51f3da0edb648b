"""The tables of predictors, smaller than in the README: others' predictors, coverage, families, effects by age."""

from __future__ import annotations

import pytest

from tests.bench import conditional_effects, families, predictors
from tests.bench.coverage import SMALL, coverage

pytestmark = pytest.mark.bench


def printed(
    module: object, options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> dict[str, list[float]]:
    """A module's table with these options: shown, and its numbers by row."""
    monkeypatch.setattr("sys.argv", ["bench", *options])
    module.main()  # type: ignore[attr-defined]
    table = capsys.readouterr().out
    with capsys.disabled():
        print(f"\n\n{table}")
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    return {name: [float(number) for number in numbers] for name, *numbers in cells}


def test_predictors(monkeypatch, capsys) -> None:
    found = printed(predictors, ["--rows", "5000"], monkeypatch, capsys)
    risk, moved, effect = found["pcm, faithful"][:3]
    assert risk == pytest.approx(2.69, rel=0.08) and moved == pytest.approx(2.69, rel=0.1)
    assert effect == pytest.approx(0.8, abs=0.06)
    assert found["pcm, observational optimum"][1] > 30


@pytest.mark.parametrize("family", SMALL)
def test_coverage(family: str) -> None:
    held = coverage(family, replications=8).mean()
    print(f"\n{family}: {held.round(3).to_dict()}")
    assert held.between(0.86, 0.94).all()


def test_families(monkeypatch, capsys) -> None:
    found = printed(families, ["--rows", "1000"], monkeypatch, capsys)
    assert all(0.85 < held < 0.95 for name, (_, held, *_) in found.items() if name.startswith("pcm"))


def test_conditional_effects(monkeypatch, capsys) -> None:
    found = printed(conditional_effects, ["--rows", "1000", "--replications", "2"], monkeypatch, capsys)
    ours, others = found["pcm.cate of a fitted program"], found["EconML, LinearDML"]
    assert ours[1] < 0.25 and others[1] < 0.35
