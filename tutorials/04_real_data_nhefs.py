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
# # Real data: does quitting smoking put on weight?
#
# NHEFS followed American smokers from 1971 to 1982. Some quit in between. Hernán & Robins work through these data in
# *Causal Inference: What If*; here is their chapter 13 as a program, with a posterior, and with what the book does not
# ask: what would have happened to *one* person.

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

import pcm
from pcm.figures import density, marginals
from pcm_models import nhefs

people = nhefs.load()
people.head()

# %% [markdown]
# 1,566 people with a weight at both visits, named by `seqn`. Sex, race, education, exercise and activity are codes;
# their labels:

# %%
pd.Series({name: ", ".join(labels) for name, labels in nhefs.categories.items()})

# %% [markdown]
# Those who quit gained more. But they were older too, and smoked less: not the same kind of people.

# %%
by_choice = people.groupby("qsmk")[["wt82_71", "age", "smokeintensity", "smokeyrs"]].mean().round(2)
by_choice

# %%
crude = people.groupby("qsmk")["wt82_71"].mean().diff().iloc[-1]
print(f"crude difference: {crude:.2f} kg")

# %% [markdown]
# ## The model
#
# Nine variables measured in 1971 are keyword-only arguments of the program: covariates. They are taken as they are.
# Quitting, `qsmk`, is a logistic regression on them; the change of weight, `wt82_71`, is a linear regression on them,
# on quitting, and on quitting times cigarettes a day.

# %%
scm = pcm.SCM(nhefs.program, categories=nhefs.categories)
scm.graph

# %% [markdown]
# All arrows into `qsmk` come from variables that we have. That is the assumption on which everything below stands:
# there is no other reason both to quit and to gain weight.
#
# ## The fit
#
# Four parameters (three of them vectors, 41 numbers in all).

# %%
fitted = scm.fit(people, draws=2000, seed=0, progress=False)
fitted.posterior

# %%
effect = fitted.posterior["effect"]
marginals(
    {"quitting, at 20 a day": effect[:, 0], "for 12 more a day": effect[:, 1], "spread": fitted.posterior["spread"]}
)

# %% [markdown]
# Trust it? *k-hat* below 0.7 says that the Gaussian approximation is close enough to be corrected.

# %%
diagnostics = fitted.posterior.diagnostics
print(f"k-hat {diagnostics['khat']:.2f}, effective draws {diagnostics['ess']:.0f} of 2,000")
assert diagnostics["converged"]
assert diagnostics["khat"] < 0.7

# %% [markdown]
# ## The effect
#
# `data=people` averages over these people. Each posterior draw gives one value of the effect.

# %%
ate = pcm.ate(fitted, "qsmk", "wt82_71", treated="quit", control="smoked on", data=people, draws=2000, seed=0)
att = pcm.att(fitted, "qsmk", "wt82_71", treated="quit", control="smoked on", data=people, draws=2000, seed=0)
print(ate)
print(att)

# %%
density(ate.draws, reference={"crude": crude}, xlabel="average effect of quitting, kg", prob=0.95)

# %% [markdown]
# The book's estimate is 3.5 kg, 95 % interval 2.6 to 4.5. Quitters were older, and older people gain less: part of why
# the crude difference is too small.
#
# Does the effect depend on how much one smoked? `cate` cuts a number into groups of equal size.

# %%
groups = pcm.cate(fitted, "qsmk", "wt82_71", given=["smokeintensity"], bins=3, data=people, draws=2000, seed=0)
groups.plot(reference=0.0)

# %% [markdown]
# ## Three people
#
# 428 quit, 244 and 818 smoked on. What if each had done the other thing? Whatever else made them gain or lose is kept;
# what is uncertain is the effect.

# %%
three = people.loc[list(nhefs.PEOPLE)]
cf = fitted.counterfactual(three, do={"qsmk": lambda qsmk: 1 - qsmk}, draws=2000, seed=0)
table = pd.DataFrame(
    {
        "who": list(nhefs.PEOPLE.values()),
        "in fact": cf.mean("wt82_71", "factual"),
        "otherwise": cf.mean("wt82_71"),
        "low": cf.interval("wt82_71", 0.95)[:, 0],
        "high": cf.interval("wt82_71", 0.95)[:, 1],
    },
    index=cf.index,
)
table.round(2)

# %%
cf.plot("wt82_71", prob=0.95)

# %% [markdown]
# What does that rest on? The model is *assumed* to be additive: the person's deviation from the regression is the same
# in both worlds. The account says it in short.

# %%
cf.account

# %% [markdown]
# ## Keep it
#
# The fitted model goes into one file, numbers and text only, and comes back with the program.

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "nhefs.pcm"
    fitted.save(path)
    again = pcm.load(path, program=nhefs.program)
same = again.counterfactual(three, do={"qsmk": lambda qsmk: 1 - qsmk}, draws=2000, seed=0)
assert np.array_equal(same.mean("wt82_71"), cf.mean("wt82_71"))

# %% [markdown]
# Columns are checked by name, so that a table that has lost one is noticed:

# %%
try:
    fitted.counterfactual(three.drop(columns="age"), do={"qsmk": "quit"})
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## What we know to be true
#
# Least squares, standardised over the sample, gives 3.517 kg with a standard error of 0.440.

# %%
value, error, _ = nhefs.truth["ATE of qsmk on wt82_71, kg"]
assert round(crude, 2) == 2.54
assert abs(ate.mean - value) < 0.1
assert np.allclose(ate.interval(0.95), (value - 1.96 * error, value + 1.96 * error), atol=0.15)

# %%
adds = effect.numpy()[:, :1] + effect.numpy()[:, 1:] * (three["smokeintensity"].to_numpy() - 20) / 12
sign = 1 - 2 * three["qsmk"].to_numpy()
assert np.allclose(cf.mean("wt82_71"), three["wt82_71"] + sign * adds.mean(0), atol=1e-9)
