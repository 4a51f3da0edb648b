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
# # Causal models as Pyro programs
#
# A causal model says how each variable comes about: from which other variables, and with how much chance. A
# [Pyro](https://pyro.ai) program says exactly that, line by line. `pcm` takes such a program and answers causal
# questions about it.
#
# This tutorial writes a model, looks at it, samples from it, learns its parameters from data, and shows the mistakes
# that are caught early. Interventions and counterfactuals follow in the next two.

# %%
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm

# %% [markdown]
# ## A clinic
#
# Patients have an age (standardised) and come to one of two sites. Both shape a laboratory value. Age shapes the care
# plan. All four shape whether a patient is readmitted.
#
# Each `pyro.sample` is a **mechanism**: the variable's name, and its distribution given what came before. Write it for
# one patient; `pcm` runs it for all of them at once.


# %%
def clinic():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    site = pyro.sample("site", dist.Bernoulli(0.4))
    labs = pyro.sample("labs", dist.Normal(0.8 * age + 0.5 * site, 0.5))
    plan = pyro.sample("plan", dist.Categorical(logits=torch.stack([0.0 * age, age, -age], -1)))
    pyro.sample("readmit", dist.Bernoulli(logits=1.2 * labs - 0.4 * (plan == 1) + 0.3 * age + 0.7 * site))


scm = pcm.SCM(clinic, categories={"plan": ["none", "basic", "full"]})
scm

# %% [markdown]
# The graph is read off the program. In a notebook it draws itself.

# %%
scm.graph

# %%
assert scm.variables == ("age", "site", "labs", "plan", "readmit")
assert set(scm.graph.predecessors("labs")) == {"age", "site"}
assert set(scm.graph.predecessors("plan")) == {"age"}

# %% [markdown]
# `sample` gives patients, a row each. The plan shows its labels; inside the program it is a code, 0, 1 or 2.

# %%
patients = scm.sample(5_000, seed=0)
patients.head()

# %% [markdown]
# The same seed gives the same patients, however many are asked for.

# %%
pd.testing.assert_frame_equal(scm.sample(10, seed=0), patients.head(10))

# %% [markdown]
# `log_prob` is the log density of each row: five mechanisms, one number a patient.

# %%
scm.log_prob(patients.head(3))

# %% [markdown]
# ## Parameters that are learnt
#
# In a study the coefficients are not known. Sites *outside* the plate named `units` are shared by all units: these are
# the **parameters**. The program then takes the number of units, `n`.
#
# What is given but not modelled, here `weight`, is a keyword-only argument: a **covariate**.


# %%
def dose_response(n, *, weight):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    noise = pyro.sample("noise", dist.HalfNormal(1.0))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Exponential(1.0))
        pyro.sample("response", dist.Normal(slope * dose / weight, noise))


study = pcm.SCM(dose_response)
print(study.parameters, study.variables, study.covariates)
study.graph

# %% [markdown]
# To have data with a known answer, fix the parameters with `given` and sample. The covariate has no distribution, so
# it has to be supplied.

# %%
weight = pd.DataFrame({"weight": np.linspace(0.5, 2.0, 400)})
data = study.given(slope=0.8, noise=0.3).sample(data=weight, seed=1)
data.head()

# %% [markdown]
# `fit` returns a new model with a posterior of the parameters. `laplace`, the default, puts a Gaussian at the mode and
# corrects it by importance sampling; *k-hat* says whether that is good enough (it should be below 0.7). Other methods
# are `nuts`, `svi` and `map`.

# %%
fitted = study.fit(data, seed=0, progress=False)
fitted.posterior.summary()

# %%
from pcm.figures import marginals  # the pictures behind every .plot()

marginals({name: fitted.posterior[name] for name in fitted.parameters}, references={"slope": 0.8, "noise": 0.3})

# %% [markdown]
# ## Mistakes that are caught
#
# A model is *checked when it is made*, and each error says what was found and what to do. A unit that reads other
# units is the most treacherous mistake, for Pyro runs it without a word:


# %%
def centred():
    age = pyro.sample("age", dist.Normal(50.0, 10.0))
    pyro.sample("labs", dist.Normal(age - age.mean(), 1.0))


def expect_error(make):
    try:
        make()
    except pcm.PCMError as error:
        print(f"{type(error).__name__}: {error}")
        return
    raise AssertionError("an error was expected")


expect_error(lambda: pcm.SCM(centred))

# %% [markdown]
# Nor can Python choose a path by a unit's value, because different units would need different paths. `torch.where`
# chooses for each unit.


# %%
def branching():
    age = pyro.sample("age", dist.Normal(50.0, 10.0))
    pyro.sample("plan", dist.Bernoulli(0.9 if age > 65 else 0.1))


def choosing():
    age = pyro.sample("age", dist.Normal(50.0, 10.0))
    pyro.sample("plan", dist.Bernoulli(torch.where(age > 65, 0.9, 0.1)))


expect_error(lambda: pcm.SCM(branching))
pcm.SCM(choosing)

# %% [markdown]
# Data are matched by name, and looked at before anything is computed:

# %%
expect_error(lambda: scm.log_prob(patients.drop(columns="labs")))
expect_error(lambda: scm.log_prob(patients.assign(readmit=2)))

# %% [markdown]
# ## What we know to be true
#
# Integrating the clinic by hand (age and the noise of labs by quadrature, site and plan by sums) gives P(readmit) =
# .5659. And the fit should have found the slope that made the data.

# %%
from pcm_models import clinic as published

chance, _, source = published.truth["P(readmit)"]
share = patients["readmit"].mean()
print(f"{share:.3f} of 5,000 sampled patients; {chance:.4f} by {source}")
assert abs(share - chance) < 4 * (chance * (1 - chance) / 5_000) ** 0.5

# %%
slope = fitted.posterior["slope"]
assert abs(float(slope.mean()) - 0.8) < 3 * float(slope.std())
assert fitted.posterior.diagnostics["khat"] < 0.7
