"""Kidney stones: open surgery is better for small stones and for large ones, and worse overall (Simpson's paradox).

Charig and others' 700 patients: stones larger than 2 cm were sent to open surgery more often, and heal less often::

    size ~ Bernoulli(343 / 700)      treatment ~ Bernoulli(by size)      recovery ~ Bernoulli(by size and treatment)

               small          large          all
    open       81 / 87        192 / 263      273 / 350   (78 %)
    puncture   234 / 270      55 / 80        289 / 350   (83 %)

Standardised over sizes, P(recovery | do(open)) = .832 and P(recovery | do(puncture)) = .779. (Texts that standardise
rounded percentages print .782 for the second.)

References
----------
Charig, Webb, Payne & Wickham, "Comparison of treatment of renal calculi by open surgery, percutaneous nephrolithotomy,
and extracorporeal shockwave lithotripsy", *BMJ* 292 (1986) 879–882. Peters, Janzing & Schölkopf, *Elements of Causal
Inference*, MIT 2017, example 6.16.

>>> import pcm
>>> effect = pcm.ate(pcm.SCM(program), "treatment", "recovery", data=load())
>>> f"{effect.mean:.4f}"
'0.0537'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyro
import pyro.distributions as dist
import torch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["categories", "counts", "load", "program", "truth"]

categories = {"size": ("small", "large"), "treatment": ("puncture", "open"), "recovery": ("no", "yes")}

# (recovered, patients) by (size, treatment), codes as in `categories`
counts = {(0, 0): (234, 270), (0, 1): (81, 87), (1, 0): (55, 80), (1, 1): (192, 263)}

_SOURCE = "Charig et al. 1986, standardised over sizes"
_OPEN = 81 / 87 * 357 / 700 + 192 / 263 * 343 / 700
_PUNCTURE = 234 / 270 * 357 / 700 + 55 / 80 * 343 / 700

truth = {
    "P(recovery | do(open))": (_OPEN, 0.0, _SOURCE),
    "P(recovery | do(puncture))": (_PUNCTURE, 0.0, _SOURCE),
    "ATE of open surgery": (_OPEN - _PUNCTURE, 0.0, _SOURCE),
    "ATE of open surgery, small stones": (81 / 87 - 234 / 270, 0.0, "Charig et al. 1986"),
    "ATE of open surgery, large stones": (192 / 263 - 55 / 80, 0.0, "Charig et al. 1986"),
    "crude difference": ((273 - 289) / 350, 0.0, "Charig et al. 1986"),
}


def program() -> None:
    """Stone size, treatment and recovery, codes as in :data:`categories`."""
    by_size = torch.tensor([87 / 357, 263 / 343])
    by_size_and_treatment = torch.tensor([[234 / 270, 81 / 87], [55 / 80, 192 / 263]])
    size = pyro.sample("size", dist.Bernoulli(343 / 700))
    treatment = pyro.sample("treatment", dist.Bernoulli(by_size[size.long()]))
    pyro.sample("recovery", dist.Bernoulli(by_size_and_treatment[size.long(), treatment.long()]))


def load() -> pd.DataFrame:
    """The 700 patients of the published table, a row each, as codes."""
    import pandas as pd

    rows = [
        (size, treatment, recovery)
        for (size, treatment), (recovered, patients) in counts.items()
        for recovery, number in ((1, recovered), (0, patients - recovered))
        for _ in range(number)
    ]
    return pd.DataFrame(rows, columns=list(categories)).rename_axis("patient")
