"""Salary: what would Alice earn with a college degree? Schooling costs years of experience.

Education ``ED`` (0 high school, 1 college, 2 graduate), experience ``EX`` in years and salary ``S`` in dollars::

    EX = 10 − 4 ED + U_EX        S = 65,000 + 2,500 EX + 5,000 ED + U_S

Alice has ED = 0, EX = 6, S = 81,000, so U_EX = −4 and U_S = 1,000. With a degree she would have 2 years of experience
and earn 76,000; comparing her with a college graduate of her experience says 86,000, wrongly, for schooling changes
experience. The book states the equations; the spreads of the noise and the shares of education, which no answer about
Alice depends on, are ours.

References
----------
Pearl & Mackenzie, *The Book of Why*, Basic Books 2018, chapter 8.

>>> import pcm
>>> pcm.SCM(program).counterfactual(evidence, do={"ED": 1}).mean("S").round(6).tolist()
[76000.0]
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch

__all__ = ["evidence", "program", "truth"]

evidence = {"ED": [0], "EX": [6.0], "S": [81_000.0]}

truth = {
    "S of Alice, had ED been 1": (76_000.0, 0.0, "The Book of Why, ch. 8"),
    "EX of Alice, had ED been 1": (2.0, 0.0, "The Book of Why, ch. 8"),
    "S of Alice, had ED been 1 and EX still 6": (86_000.0, 0.0, "81,000 + 5,000"),
    "ATE of ED on S": (-5_000.0, 0.0, "5,000 − 4 · 2,500"),
}


def program() -> None:
    """Education (level), experience (years), salary (dollars)."""
    education = pyro.sample("ED", dist.Categorical(torch.tensor([0.5, 0.35, 0.15])))
    experience = pyro.sample("EX", dist.Normal(10.0 - 4.0 * education, 3.0))
    pyro.sample("S", dist.Normal(65_000.0 + 2_500.0 * experience + 5_000.0 * education, 4_000.0))
