"""Berkeley: are women refused? Less often admitted overall, no less often within departments (mediation, not bias).

Graduate admissions at Berkeley in autumn 1973, the six largest departments, 4,526 applicants; the department applied to
lies between sex and admission::

    female ~ Bernoulli(1835 / 4526)    dept ~ Categorical(by sex)    admitted ~ Bernoulli(by sex and department)

           A          B          C          D          E         F         all
    men    512 / 825  353 / 560  120 / 325  138 / 417  53 / 191  22 / 373  1198 / 2691  (44.5 %)
    women  89 / 108   17 / 25    202 / 593  131 / 375  94 / 393  24 / 341  557 / 1835   (30.4 %)

With π the shares of departments and r their rates of admission, Pearl's mediation formula gives, of being female,

    TE = Σ π_w r_w − Σ π_m r_m     NDE = Σ π_m (r_w − r_m)     NIE = Σ (π_w − π_m) r_m

The whole gap comes through the choice of department; the direct effect points the other way, and that of being male for
those who apply as women do (the reversed NDE) is next to nothing.

References
----------
Bickel, Hammel & O'Connell, "Sex bias in graduate admissions: data from Berkeley", *Science* 187 (1975) 398–404. The six
departments: Freedman, Pisani & Purves, *Statistics*, Norton 1978, chapter 2. Pearl, "Direct and indirect effects", UAI
2001.

>>> import pcm
>>> effect = pcm.ate(pcm.SCM(program), "female", "admitted", data=load())
>>> f"{truth['TE of female'][0]:.5f}", abs(effect.mean - truth["TE of female"][0]) < 0.005
('-0.14165', True)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyro
import pyro.distributions as dist
import torch

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["categories", "counts", "load", "program", "truth"]

categories = {"female": ("man", "woman"), "dept": ("A", "B", "C", "D", "E", "F"), "admitted": ("no", "yes")}

# (admitted, applicants) by department, for men and for women
counts = (
    ((512, 825), (353, 560), (120, 325), (138, 417), (53, 191), (22, 373)),
    ((89, 108), (17, 25), (202, 593), (131, 375), (94, 393), (24, 341)),
)

_APPLIED = tuple(sum(applied for _, applied in row) for row in counts)  # men, women
_SHARE = tuple(tuple(applied / total for _, applied in row) for row, total in zip(counts, _APPLIED, strict=True))
_RATE = tuple(tuple(admitted / applied for admitted, applied in row) for row in counts)


def _admitted(shares: int, rates: int) -> float:
    """P(admitted) of those who apply as one sex does and are admitted as one sex is."""
    return sum(share * rate for share, rate in zip(_SHARE[shares], _RATE[rates], strict=True))


_TABLE, _FORMULA = "the published table", "Pearl's mediation formula on the published table"

truth = {
    "P(admitted | man)": (_admitted(0, 0), 0.0, _TABLE),
    "P(admitted | woman)": (_admitted(1, 1), 0.0, _TABLE),
    "TE of female": (_admitted(1, 1) - _admitted(0, 0), 0.0, _TABLE),
    "NDE of female": (_admitted(0, 1) - _admitted(0, 0), 0.0, _FORMULA),
    "NIE of female": (_admitted(1, 0) - _admitted(0, 0), 0.0, _FORMULA),
    "NDE of male (reversed)": (_admitted(1, 0) - _admitted(1, 1), 0.0, _FORMULA),
    "CDE of female in department A": (_RATE[1][0] - _RATE[0][0], 0.0, _TABLE),
}


def program() -> None:
    """Sex, department and admission, codes as in :data:`categories`."""
    shares, rates = torch.tensor(_SHARE), torch.tensor(_RATE)
    female = pyro.sample("female", dist.Bernoulli(_APPLIED[1] / sum(_APPLIED)))
    dept = pyro.sample("dept", dist.Categorical(shares[female.long()]))
    pyro.sample("admitted", dist.Bernoulli(rates[female.long(), dept]))


def load() -> pd.DataFrame:
    """The 4,526 applicants of the published table, a row each, as codes."""
    import pandas as pd

    rows = [
        (female, dept, outcome)
        for female, row in enumerate(counts)
        for dept, (admitted, applied) in enumerate(row)
        for outcome, number in ((1, admitted), (0, applied - admitted))
        for _ in range(number)
    ]
    return pd.DataFrame(rows, columns=list(categories)).rename_axis("applicant")
