"""The reference fixture by simulation beside the closed form: every row, both readings of the environment.

``python -m tests.bench.fixture`` prints a Markdown table a reading. The simulation (``simulate=True``) knows nothing of
lines: it runs the program, draws what is hidden given what is read, and regresses on polynomials.

>>> list(READINGS)
['as drawn', 'as drawn, E hidden', 'an artifact', 'an artifact, E hidden']
"""

from __future__ import annotations

import argparse
import time

import pandas as pd

import pcm
from pcm_models.hospital_readmission import artifact, fair, fair_artifact, program, robust

__all__ = ["ALONE", "READINGS", "compare", "main"]

#: Program, requirements, and what the predictor does not read.
READINGS = {
    "as drawn": (program, [fair, robust], []),
    "as drawn, E hidden": (program, [fair, robust], ["E"]),
    "an artifact": (artifact, [fair_artifact, robust], ["X_true"]),
    "an artifact, E hidden": (artifact, [fair_artifact, robust], ["E", "X_true"]),
}
#: The one row of the closed form that no simulation has: groups of a continuous variable cannot be compared.
ALONE = "demographic parity in A and E"


def compare(reading: str, units: int = 20_000, seed: int = 0) -> pd.DataFrame:
    """Risk and effects of each predictor, exact and simulated, a row each; and the least price and shadow prices."""
    law, asked, hidden = READINGS[reading]
    scm = pcm.SCM(law)
    exact = pcm.check(scm, asked, hidden=hidden)
    found = pcm.check(scm, asked, hidden=hidden, simulate=True, units=units, seed=seed)
    pairs = {
        f"{row.name}: {what}": (effect, made)
        for row in exact.rows
        if row.name != ALONE
        for what, effect, made in [
            ("MSE", row.risk, found.row(row.name).risk),
            *((f"effect of {s}", effect, found.row(row.name).effects[s]) for s, effect in row.effects.items()),
        ]
    }
    pairs["least price"] = exact.price_minimum, found.price_minimum
    pairs |= {f"shadow price of {s}": (price, found.shadow_prices[s]) for s, price in exact.shadow_prices.items()}
    return pd.DataFrame.from_dict(
        {name: (float(a), float(b), b.standard_error or 0.0) for name, (a, b) in pairs.items()},
        orient="index",
        columns=["exact", "simulated", "s.e."],
    )


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("--units", type=int, default=20_000)
    asked.add_argument("--seed", type=int, default=0)
    given = asked.parse_args()
    for reading in READINGS:
        start = time.process_time()
        found = compare(reading, given.units, given.seed)
        seconds = time.process_time() - start
        print(f"\n{reading}: {given.units:,} units, {seconds:.1f} processor seconds\n")
        print("| predictor | MSE | simulated | s.e. | error | effect of A | simulated | effect of E | simulated |")
        print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
        for name in dict.fromkeys(label.rpartition(": ")[0] for label in found.index if ": " in label):
            exact, made, error = found.loc[f"{name}: MSE"]
            cells = [f"{exact:.4f}", f"{made:.4f}", f"{error:.4f}", f"{100 * (made / exact - 1):+.2f} %"]
            for source in ("A", "E"):
                cells += [
                    f"{value:.3f}".replace("-0.000", "0.000") for value in found.loc[f"{name}: effect of {source}"][:2]
                ]
            print(f"| {name} | {' | '.join(cells)} |")
        rest = found[[": " not in label for label in found.index]]
        for name, (exact, made, error) in zip(rest.index, rest.to_numpy(), strict=True):
            print(f"- {name}: {exact:.4f}, simulated {made:.4f} ± {error:.4f}")
        risks = found[[label.endswith("MSE") for label in found.index]]
        print(f"- largest error of a risk: {100 * (risks['simulated'] / risks['exact'] - 1).abs().max():.2f} %")


if __name__ == "__main__":
    main()
