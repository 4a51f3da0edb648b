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
# # Bounds: what is known without assuming a coupling
#
# Tutorial 3 ended on a warning: for discrete variables the distributions do not fix a unit's counterfactual; a
# *coupling* does, and no data can test it. Sometimes there is good reason for one. Where there is none, the honest
# answer is an interval: the smallest and the largest value that any coupling gives. `pcm.bounds` finds it.

# %%
import networkx as nx
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm.figures import interval_rows
from pcm_models import clinic

# %% [markdown]
# ## Was it the treatment?
#
# A trial: 30 % recover untreated, 70 % treated. The average effect is .4, no doubt about it. Three questions about
# persons:
#
# - **PN**, necessity: she was treated and recovered. Would she *not* have recovered untreated?
# - **PS**, sufficiency: he was not treated and did not recover. Would he have, treated?
# - **PNS**, both: what share recovers if treated *and only* if treated?


# %%
def trial():
    t = pyro.sample("t", dist.Bernoulli(0.5))
    pyro.sample("y", dist.Bernoulli(0.3 + 0.4 * t))


scm = pcm.SCM(trial)
treated_and_well = {"t": [1], "y": [1]}
necessity = pcm.probability_of_necessity(scm, "t", "y", data=treated_and_well)
necessity

# %% [markdown]
# 4/7: that is under the default coupling, where the treatment harms nobody. If the two outcomes of a person had nothing
# to do with each other, it would be .7. The trial looks the same under both.

# %%
unrelated = pcm.SCM(trial, couplings={"y": "independent"})
loose = pcm.probability_of_necessity(unrelated, "t", "y", data=treated_and_well)
print(f"harms nobody: {necessity.mean:.3f}; unrelated: {loose.mean:.3f}")

# %% [markdown]
# `bounds` forgets the couplings and keeps the distributions:

# %%
bounded = {name: pcm.bounds(scm, f"{name}(t, y)") for name in ("PN", "PS", "PNS")}
for found in bounded.values():
    print(found)

# %% [markdown]
# "Sharp" means that both ends are attained: there is a population that gives them. The certificate is that population:
# shares of people by what they would do untreated and treated. At the lower end of PNS nobody is harmed, at the upper
# end as many as possible.

# %%
bounded["PNS"].certificate.round(3)

# %%
assert necessity.mean in bounded["PN"] and loose.mean in bounded["PN"]
assert np.isclose(necessity.mean, bounded["PN"].low)

# %% [markdown]
# ## Assumptions buy precision
#
# "The treatment harms nobody" is `monotone=`. Here it leaves nothing open:

# %%
harmless = pcm.bounds(scm, "PNS(t, y)", monotone=[("t", "y")])
harmless

# %% [markdown]
# A variable in between that *was* measured helps too. `A` acts on `Y` by way of `M`, which is known to be the only way;
# without `M` (it is declared latent) the bounds are wider.


# %%
def chain():
    a = pyro.sample("A", dist.Bernoulli(0.5))
    m = pyro.sample("M", dist.Bernoulli(0.3 + 0.5 * a))
    pyro.sample("Y", dist.Bernoulli(0.2 + 0.5 * m))


measured = pcm.bounds(pcm.SCM(chain), "PNS(A, Y)")
unmeasured = pcm.bounds(pcm.SCM(chain), "PNS(A, Y)", latent=["M"])
print(measured)
print(unmeasured)

# %% [markdown]
# ## A case for a court
#
# A patient took a drug and died. Pearl (*Causality*, §9.3.4) gives two sources. In an experiment 16 of 1,000 died with
# the drug, 14 without. Among people who chose for themselves, 2 of 1,000 died with the drug, 28 without. What is the
# probability that *he* would be alive without it? A table takes the place of a program, and needs its graph; `x <-> y`
# is an unmeasured common cause.

# %%
chosen = pd.DataFrame({"drug": [1, 1, 0, 0], "died": [1, 0, 1, 0], "count": [2, 998, 28, 972]})
graph = "drug -> died; drug <-> died"
by_choice = pcm.bounds(chosen, "PN(drug, died)", graph=graph)
by_choice

# %% [markdown]
# That alone says nothing. With the experiment:

# %%
assigned = [
    ({"drug": 1}, {"died": [1, 0], "count": [16, 984]}),
    ({"drug": 0}, {"died": [1, 0], "count": [14, 986]}),
]
both = pcm.bounds(chosen, "PN(drug, died)", graph=graph, experiments=assigned)
both

# %% [markdown]
# Certainty. Why? Of those who did not choose the drug 28 in 1,000 died, which is 14 in 1,000 of all people: as many as
# the experiment saw die without the drug. So without it nobody else would have died, this man included.
#
# ## An instrument
#
# Cholesterol: men were given a drug or a placebo at random (`z`), not all took it (`x`), some improved (`y`). What
# makes a man take his pills may also make him improve: `x <-> y`. The effect of *taking* is not identified:

# %%
lipid = pd.DataFrame({"z": [0, 0, 0, 0, 1, 1, 1, 1], "x": [0, 0, 1, 1] * 2, "y": [0, 1] * 4})
lipid["probability"] = np.array([0.919, 0.081, 0, 0, 0.315, 0.073, 0.139, 0.473]) / 2
identified = pcm.identify(nx.DiGraph([("z", "x"), ("x", "y")]), "x", "y", confounded=[("x", "y")])
identified

# %% [markdown]
# Unless everything is linear and the same for everyone, that is. Without those assumptions Balke & Pearl bound it, and
# the random assignment is worth a lot:

# %%
without = pcm.bounds(lipid, "ATE(x, y)", graph="x -> y; x <-> y")
with_it = pcm.bounds(lipid, "ATE(x, y)", graph="z -> x -> y; x <-> y")
print(without)
print(with_it)

# %%
arms = lipid.assign(x=lipid["x"] * lipid["probability"], y=lipid["y"] * lipid["probability"]).groupby("z").sum() * 2
slope = (arms["y"].diff() / arms["x"].diff()).iloc[-1]
on_takers = pcm.bounds(lipid, "ATT(x, y)", graph="z -> x -> y; x <-> y")
print(f"slope of a linear model: {slope:.3f}")
print(on_takers)
assert slope in with_it and np.allclose(list(on_takers), slope)

# %% [markdown]
# The linear formula is not wrong: nobody on placebo took the drug, and then it is the effect on those who did take it,
# which is known to a point. It is not the effect on everyone.
#
# An instrument can be refuted: if `z` moves `y` where `x` stays as it is, then not by way of `x`. The error says by how
# much:

# %%
leaking = lipid.assign(probability=np.array([0.05, 0.90, 0, 0.05, 0.90, 0.05, 0, 0.05]) / 2)
try:
    pcm.bounds(leaking, "ATE(x, y)", graph="z -> x -> y; x <-> y")
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Patient by patient
#
# With `data=`, each unit has bounds of its own. Readmission had labs been 0, as in tutorial 3: the answer under the
# coupling is inside the bounds, often at one end.

# %%
hospital = pcm.SCM(clinic.program, categories=clinic.categories)
patients = hospital.sample(200, seed=4)
each = pcm.bounds(hospital, "P(readmit[labs=0]=1)", data=patients)
chance = hospital.counterfactual(patients, do={"labs": 0.0}).probability("readmit", 1)
rows = each.to_dataframe().assign(coupling=chance, labs=patients["labs"], readmit=patients["readmit"]).head(8)
rows.round(3)

# %%
interval_rows(rows.index, rows["coupling"], rows["low"], rows["high"], xlabel="readmitted, had labs been 0")

# %% [markdown]
# Narrow bounds: the coupling hardly matters for that patient. Wide ones: the number in the middle is the coupling's
# word, not the data's.
#
# ## A sample is not a distribution
#
# Bounds say what couplings leave open. How much a finite sample leaves open comes on top: of a fitted model, the ends
# have a distribution too, and `interval` covers both.


# %%
def small_trial(n):
    untreated, treated = pyro.sample("rates", dist.Beta(torch.ones(2), 1.0).to_event(1))
    with pyro.plate("units", n):
        t = pyro.sample("t", dist.Bernoulli(0.5))
        pyro.sample("y", dist.Bernoulli(torch.where(t == 1, treated, untreated)))


data = pd.DataFrame({"t": [0] * 50 + [1] * 50, "y": [1] * 15 + [0] * 35 + [1] * 35 + [0] * 15})
fitted = pcm.SCM(small_trial).fit(data, seed=0, progress=False)
sampled = pcm.bounds(fitted, "PNS(t, y)", seed=0)
sampled

# %%
low, high = sampled.interval(0.95)
assert low < bounded["PNS"].low and bounded["PNS"].high < high

# %% [markdown]
# ## What we know to be true
#
# Tian & Pearl (2000) give the bounds of the trial as formulas; Balke & Pearl (1997) print .392 and .780; the chain is
# .25 to .53, by enumeration of its response types.

# %%
p0, p1 = 0.3, 0.7
assert np.allclose(list(bounded["PNS"]), [p1 - p0, min(p1, 1 - p0)])
assert np.allclose(list(bounded["PN"]), [(p1 - p0) / p1, min(1, (1 - p0) / p1)])
assert np.allclose(list(bounded["PS"]), [(p1 - p0) / (1 - p0), min(1, p1 / (1 - p0))])
assert np.allclose(list(harmless), p1 - p0)
assert np.allclose(list(measured), [0.25, 0.53]) and np.allclose(list(unmeasured), [0.25, 0.60])

# %%
assert np.allclose(list(with_it), [0.392, 0.780], atol=5e-4)
assert np.allclose(list(by_choice), [0, 1]) and np.allclose(list(both), 1)
assert ((each.low <= chance + 1e-9) & (chance <= each.high + 1e-9)).all()

# %% [markdown]
# Fréchet's inequality, for each patient: of those with her values a share `p` is as she was, and a share `p'` would be
# readmitted in the other world. The two may overlap as little, or as much, as shares can.

# %%
before = np.exp(hospital.log_prob(patients) - hospital.log_prob(patients.assign(readmit=1 - patients["readmit"])))
before = before / (1 + before)  # P(readmit as it was | causes)
other = hospital.log_prob(patients.assign(labs=0.0, readmit=1)) - hospital.log_prob(
    patients.assign(labs=0.0, readmit=0)
)
after = 1 / (1 + np.exp(-other))
assert np.allclose(each.low, np.maximum(0, before + after - 1) / before)
assert np.allclose(each.high, np.minimum(1, after / before))
print(f"mean width of the bounds of 200 patients: {each.width.mean():.2f}")
