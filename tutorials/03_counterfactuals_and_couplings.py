# ---
# jupyter:
#   jupytext:
#     text_representation:
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Counterfactuals, and the couplings behind them
#
# An intervention asks about patients like these. A counterfactual asks about *this* patient, who was treated and did
# recover: would he have recovered untreated? What we saw of him counts. Pearl's answer has three steps:
#
# 1. **abduction**: from what was seen, find the unit's noise, all that made it differ from others;
# 2. **action**: set the variable;
# 3. **prediction**: run the program again with the same noise.

# %%
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm_models import clinic, encouragement, firing_squad, salary

# %% [markdown]
# ## Joe's homework
#
# Encouragement `X`, homework `H`, exam score `Y`: three linear equations. Joe was encouraged 0.5, did homework 1, and
# scored 1.5. What if he had done twice the homework?

# %%
scm = pcm.SCM(encouragement.program)
joe = pd.DataFrame({"X": [0.5], "H": [1.0], "Y": [1.5]}, index=["Joe"])
cf = scm.counterfactual(joe, do={"H": 2.0})
cf.to_dataframe()

# %% [markdown]
# By hand: his noise in `Y` is 1.5 − 0.7 · 0.5 − 0.4 · 1 = 0.75, so the new score is 0.7 · 0.5 + 0.4 · 2 + 0.75 = 1.90.

# %%
assert np.isclose(cf.mean("Y")[0], 1.90, atol=1e-12)

# %%
cf.plot("Y")

# %% [markdown]
# Several worlds may be asked about at once. The observed one, `"factual"`, is always there; a contrast compares two. A
# pair of names is one arrow: there, only the score sees the other encouragement.

# %%
cf = scm.counterfactual(
    joe,
    worlds={"no encouragement": {"X": 0.0}, "its direct effect alone": {("X", "Y"): 0.0}},
)
cf.to_dataframe()

# %%
total = cf.contrast("Y", "no encouragement").mean[0]
direct = cf.contrast("Y", "its direct effect alone").mean[0]
print(f"total {total:+.2f}, direct {direct:+.2f}, through homework {total - direct:+.2f}")
assert np.allclose([total, direct], [-0.45, -0.35], atol=1e-12)

# %% [markdown]
# ## Alice's salary
#
# Alice has no degree, 6 years of experience, and earns 81,000. A colleague with a degree and *her* experience earns
# 86,000; but a degree would have cost her four of those years.

# %%
alice = pd.DataFrame({"ED": [0], "EX": [6.0], "S": [81_000.0]}, index=["Alice"])
worlds = {"degree": {"ED": 1}, "degree, same experience": {"ED": 1, "EX": 6.0}}
answer = pcm.SCM(salary.program).counterfactual(alice, worlds=worlds)
pd.Series({world: answer.mean("S", world)[0] for world in answer.worlds}, name="salary")

# %%
assert np.isclose(answer.mean("S", "degree")[0], 76_000)
assert np.isclose(answer.mean("EX", "degree")[0], 2)

# %% [markdown]
# ## The firing squad
#
# Programs may hold plain computations too: `pyro.deterministic`. The court ordered, the captain signalled, both
# riflemen shot, the prisoner died. Had rifleman A held his fire?

# %%
squad = pcm.SCM(firing_squad.program)
squad.graph

# %%
seen = {"U": [1], "W": [0], "C": [1], "A": [1], "B": [1], "D": [1]}
print("dead, had A held his fire:", squad.counterfactual(seen, do={"A": 0}).mean("D")[0] == 1)
assert squad.counterfactual(seen, do={"A": 0}).mean("D")[0] == 1

# %% [markdown]
# Evidence that contradicts the equations is refused:

# %%
try:
    squad.counterfactual({**seen, "D": [0]}, do={"A": 0})
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Readmission: noise that is not pinned down
#
# Readmission is 0 or 1. To have seen a 1 does not tell the noise, only a range of it; the answer is a probability, and
# it is computed, not drawn.

# %%
hospital = pcm.SCM(clinic.program, categories=clinic.categories)
patients = hospital.sample(200, seed=4)
cf = hospital.counterfactual(patients, do={"labs": 0.0})
table = patients.assign(chance=cf.probability("readmit", 1), saved=patients["readmit"] - cf.probability("readmit", 1))
table.head().round(3)

# %% [markdown]
# A patient that was readmitted, with labs above 0: lower labs lower the chance, to p′/p. A patient that was not, and
# whose labs were already above 0, would not have been either.

# %%
high = patients["labs"] > 0
assert (table.loc[high & (patients["readmit"] == 0), "chance"] == 0).all()
assert (table.loc[high & (patients["readmit"] == 1), "chance"] < 1).all()

# %%
cf.plot("readmit", units=list(range(8)))

# %% [markdown]
# The **account** says what an answer rests on: how each site's noise was found, and by which coupling. `"exact"` is a
# single noise; `"law"` is what remains possible, in closed form.

# %%
cf.account

# %% [markdown]
# ## A coupling is an assumption
#
# Distributions alone do not fix counterfactuals of discrete variables: different structural equations have the same
# distributions. A **coupling** is the choice of one. Take a plan that is `none`, `basic` or `full` with probabilities
# (.5, .3, .2), and (.2, .3, .5) at the other site.


# %%
def referral():
    site = pyro.sample("site", dist.Bernoulli(0.5))
    here, there = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.5])
    pyro.sample("plan", dist.Categorical(torch.where(site[..., None] == 1, there, here)))


def switched(coupling):
    """P(plan at the other site | plan here), a row a plan."""
    model = pcm.SCM(referral, couplings={"plan": coupling}, categories={"plan": ["none", "basic", "full"]})
    cf = model.counterfactual({"site": [0, 0, 0], "plan": ["none", "basic", "full"]}, do={"site": 1})
    columns = {plan: cf.probability("plan", plan) for plan in ("none", "basic", "full")}
    return pd.DataFrame(columns, index=["none", "basic", "full"]), cf.account.rung


# %% [markdown]
# `gumbel_max`, the default for categories: who had `full` keeps it, for it became more likely and nothing else did
# more.

# %%
gumbel, rung = switched("gumbel_max")
gumbel.round(4)

# %% [markdown]
# `monotone`, for categories in an order: everyone keeps the rank, so that some with `basic` move up to `full`.

# %%
monotone, _ = switched("monotone")
monotone.round(4)

# %% [markdown]
# `independent`: the past is forgotten. That is an intervention and no counterfactual, rung 2, and the account says so.

# %%
independent, forgetful = switched("independent")
independent.round(4)

# %% [markdown]
# All three agree on the share of each plan at the other site, .2, .3 and .5, because all three have the same
# distributions.

# %%
here = np.array([0.5, 0.3, 0.2])
for table in (gumbel, monotone, independent):
    assert np.allclose(here @ table.to_numpy(), [0.2, 0.3, 0.5], atol=1e-9)
assert (rung, forgetful) == (3, 2)

# %% [markdown]
# ## Further on
#
# A result is a table (`cf.to_dataframe()`), and draws with named dimensions for ArviZ (`cf.inference_data`) and
# xarray:

# %%
cf.to_xarray()["readmit"].sizes

# %% [markdown]
# ## What we know to be true
#
# The Gumbel-max table has a closed form (Oberst & Sontag 2019), and so has the binary counterfactual.

# %%
closed = [[0.4, 0.138462, 0.461538], [0, 0.769231, 0.230769], [0, 0, 1]]
assert np.allclose(gumbel, closed, atol=1e-6)
assert np.allclose(monotone, [[0.4, 0.6, 0], [0, 0, 1], [0, 0, 1]], atol=1e-9)

# %%
two = hospital.counterfactual(clinic.evidence, do={"labs": 0.0})
truth, _, source = clinic.truth["P(readmit) of the first, had labs been 0"]
assert np.isclose(two.probability("readmit", 1)[0], truth, atol=1e-9)
print(f"{truth:.4f}, {source}")
