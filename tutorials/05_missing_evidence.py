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
# # Missing evidence
#
# Tutorial 3 asked about units of which everything was known. Mostly something is not: a cause that nobody measured, a
# questionnaire with holes. Abduction then gives not one noise but a *distribution* of it: what the unit may be like,
# given what was seen of it. The answer is a distribution too.
#
# Nothing new has to be learnt for it: leave out the column, or leave the cell empty.

# %%
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm_models import firing_squad, latent_confounder, nhefs

# %% [markdown]
# ## A cause that nobody measured
#
# `A` and `E` are causes of `X` and of the outcome `Y`; `Z` is another effect of `A`. All is linear and Gaussian, so
# that every answer can be checked with a pencil.

# %%
scm = pcm.SCM(latent_confounder.program)
scm.graph

# %% [markdown]
# One unit, and the question: what would `Y` be, had `A` been 0? First with everything known.

# %%
unit = pd.DataFrame(latent_confounder.evidence, index=["this one"])
known = scm.counterfactual(unit, do={"A": 0.0})
print(f"Y = {known.mean('Y')[0]:.3f}, give or take {known.sd('Y')[0]:.3f}")

# %% [markdown]
# Now without `A`. The other columns tell something of it: `X`, `Y` and above all `Z`.

# %%
hidden = scm.counterfactual(unit.drop(columns="A"), do={"A": 0.0})
print(f"A was {hidden.mean('A', 'factual')[0]:.3f}, give or take {hidden.sd('A', 'factual')[0]:.3f}")
print(f"Y = {hidden.mean('Y')[0]:.3f}, give or take {hidden.sd('Y')[0]:.3f}")

# %% [markdown]
# By hand: before anything is seen, `A` has mean 0 and precision 1. Each column is a measurement of `A`: a residual, its
# slope on `A`, its noise. Precisions add up.

# %%
_, e, x, z, y = unit.iloc[0]
residual = np.array([x - 0.5 * e, z, y - 1.2 * x - 0.9 * z - 0.6 * e])
slope, noise = np.array([0.8, -0.7, 0.3]), np.array([0.5, 0.4, 0.7])
precision = 1 + (slope**2 / noise**2).sum()
mean, sd = (slope * residual / noise**2).sum() / precision, precision**-0.5
effect = 0.3 + 1.2 * 0.8 - 0.9 * 0.7  # of A on Y, all paths
print(f"A {mean:.3f} ± {sd:.3f}, Y {y - effect * mean:.3f} ± {effect * sd:.3f}")

# %%
assert np.isclose(hidden.mean("A", "factual")[0], mean, atol=1e-9)
assert np.isclose(hidden.mean("Y")[0], y - effect * mean, atol=1e-9)
assert np.isclose(hidden.sd("Y")[0], effect * sd, atol=1e-9)

# %% [markdown]
# Not every question suffers. `X` reaches `Y` only directly, so that setting `X` moves `Y` by 1.2 a unit, whatever `A`
# was:

# %%
past = scm.counterfactual(unit.drop(columns="A"), do={"X": 0.0})
print(f"Y = {past.mean('Y')[0]:.3f}, give or take {past.sd('Y')[0]:.3f}")
assert past.sd("Y")[0] < 1e-7

# %% [markdown]
# ## Exact answers and draws
#
# Here what is missing has a Gaussian posterior and the question is linear: `mean`, `sd` and `interval` are closed
# forms. `draws` are for whatever you want to compute yourself, and carry the error of 256 draws, about a 16th of the
# standard deviation.

# %%
units = scm.sample(400, seed=1)
cf = scm.counterfactual(units.drop(columns="A"), do={"A": 0.0}, seed=2)
error = (cf.draws("Y").mean(0) - cf.mean("Y")) / cf.sd("Y")
print(f"{cf.draws('Y').shape}, error of their mean: {error.std():.3f} sd; expected {256**-0.5:.3f}")
assert abs(error.std() - 256**-0.5) < 0.015

# %%
cf.plot("Y", units=list(range(8)))

# %% [markdown]
# The account says how each site was treated: `A` was *inferred*, all other noises follow from it.

# %%
cf.account

# %% [markdown]
# Are the intervals honest? These units were sampled, so their `A` is known after all, and so is the true answer. Nine
# in ten 90 % intervals should hold it.

# %%
true = scm.counterfactual(units, do={"A": 0.0}).mean("Y")
low, high = cf.interval("Y", 0.9).T
held = ((low < true) & (true < high)).mean()
print(f"{held:.1%} of 400 intervals hold the truth")
assert abs(held - 0.9) < 4 * (0.9 * 0.1 / 400) ** 0.5

# %% [markdown]
# ## Holes
#
# A cell may be missing in one row and there in the next. The first row lacks `A`; the second `A` and `Z`; of the third
# only `Y` is known; the last has all.

# %%
holes = units.head(4).copy()
holes.iloc[0, [0]] = np.nan
holes.iloc[1, [0, 3]] = np.nan
holes.iloc[2, [0, 1, 2, 3]] = np.nan
holes.round(2)

# %%
patchy = scm.counterfactual(holes, do={"A": 0.0})
pd.DataFrame({"missing": patchy.diagnostics["missing"], "Y": patchy.mean("Y"), "sd": patchy.sd("Y")}).round(3)

# %%
assert np.isclose(patchy.sd("Y")[0], effect * sd)  # the spread depends on which cells, not on their values
assert (np.diff(patchy.sd("Y")[:3]) > 0).all()
assert patchy.sd("Y")[3] == 0

# %% [markdown]
# So may some values of a vector, or some visits of a plate inside a unit: what was recorded of it counts. Three scores
# that hang together, of which the second was lost; given the others it is normal again (Gaussian conditioning):


# %%
def scored():
    law = torch.tensor([[1.0, 0.7, 0.5], [0.7, 1.0, 0.6], [0.5, 0.6, 1.0]])
    score = pyro.sample("score", dist.MultivariateNormal(torch.zeros(3), law))
    pyro.sample("grade", dist.Normal(score.mean(-1), 0.3))


cf = pcm.SCM(scored).counterfactual({"score": [[1.2, np.nan, 0.4]], "grade": [0.9]}, do={"grade": 0.0})
law = np.array([[1.0, 0.7, 0.5], [0.7, 1.0, 0.6], [0.5, 0.6, 1.0]])
add = np.array([[1, 0, 0], [0, 0, 1], [1 / 3, 1 / 3, 1 / 3]])  # what was seen: two scores, and the mean with noise
gain = law[1] @ add.T @ np.linalg.inv(add @ law @ add.T + np.diag([0, 0, 0.3**2]))
lost, sd = gain @ [1.2, 0.4, 0.9], np.sqrt(1 - gain @ add @ law[1])
print(f"second score {cf.mean('score', 'factual')[0, 1]:.4f} ± {cf.sd('score', 'factual')[0, 1]:.4f}")
assert np.isclose(cf.mean("score", "factual")[0, 1], lost) and np.isclose(cf.sd("score", "factual")[0, 1], sd)

# %% [markdown]
# An empty cell is taken to be **missing at random**: that it is empty tells nothing beyond what the other cells tell.
# If people with bad results do not answer, that is wrong, and the program should have a variable for answering.
#
# ## What is missing may be discrete
#
# Pearl's firing squad again: the court orders (`U`), the captain signals, the riflemen `A` and `B` shoot; `A` is
# nervous (`W`) and may shoot anyway. We come upon a dead prisoner and know nothing else. Had `A` held his fire?
#
# The zoo's program computes deaths by `pyro.deterministic`. Order and nerves are enumerated, so the answer is exact.

# %%
yard = pcm.SCM(firing_squad.program)
found = yard.counterfactual({"D": [1.0]}, do={"A": 0.0})
found.to_dataframe().round(4)

# %% [markdown]
# A death makes an order more likely, 6/7 instead of 0.6, and with the order `B` shoots: alive with probability 1/7, by
# the formula of *Causality*, §7.1.3. What else we learn of this prisoner counts: that `B` did not shoot settles it.

# %%
more = yard.counterfactual({"D": [1.0, 1.0], "B": [np.nan, 0.0]}, do={"A": 0.0})
print("dead, had A held his fire:", more.probability("D", 1).round(4))
assert np.allclose(more.probability("D", 1), [6 / 7, 0])

# %% [markdown]
# What no order and no nerves could have brought about is refused: `A` shot, and the prisoner lives.

# %%
try:
    yard.counterfactual({"A": [1.0], "D": [0.0]}, do={"A": 0.0})
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# A count has no greatest value. It is enumerated as far as it matters: over all but 1e-13 of every unit's probability,
# wherever the evidence has moved it. Visits were not recorded, spending was; what would these three have spent had each
# come once more?


# %%
def shop():
    visits = pyro.sample("visits", dist.Poisson(torch.tensor(3.0)))
    pyro.sample("spend", dist.Normal(2.0 * visits, 1.5))


spent = {"spend": [2.0, 7.0, 60.0]}
once_more = pcm.SCM(shop).counterfactual(spent, do={"visits": lambda visits: visits + 1})
once_more.to_dataframe().round(3)

# %%
count = np.arange(100)
log = count * np.log(3.0) - np.cumsum(np.log(np.maximum(count, 1))) - (60.0 - 2 * count) ** 2 / (2 * 1.5**2)
third = np.exp(log - log.max()) @ count / np.exp(log - log.max()).sum()
print(f"visits of the third: {third:.6f}, though 3 are usual")
assert np.isclose(once_more.mean("visits", "factual")[2], third, atol=1e-9)
assert np.allclose(once_more.mean("spend"), np.add(spent["spend"], 2.0), atol=1e-9)

# %% [markdown]
# ## Neither Gaussian nor finite
#
# The sicker a patient, the higher the dose; severity was not recorded. Its posterior has no closed form. Where one
# number of a unit is open it is integrated numerically; where several are, Newton's method finds the mode, unit by
# unit, and importance sampling corrects it. `method=` asks for one of these by name.


# %%
def ward():
    severity = pyro.sample("severity", dist.Normal(0.0, 1.0))
    dose = pyro.sample("dose", dist.LogNormal(0.5 * severity, 0.5))
    pyro.sample("recovered", dist.Bernoulli(logits=0.5 - 1.5 * severity + 0.8 * dose))


patients = pcm.SCM(ward).sample(200, seed=1)
doubled = pcm.SCM(ward).counterfactual(
    patients.drop(columns="severity"), do={"dose": lambda dose: 2 * dose}, seed=0, method="importance"
)
print(f"{doubled.diagnostics['flagged'].sum()} units flagged, largest k-hat {doubled.diagnostics['khat'].max():.2f}")
doubled.diagnostics.head().round(2)

# %% [markdown]
# `khat` is the unit's own Pareto k-hat: where it is above 0.7, the unit is flagged and a warning names it. `ess` is how
# many independent draws the weighted ones are worth. Check one patient by integrating over severity on a grid:

# %%
row = int(np.flatnonzero(patients["recovered"] == 0)[0])
dose = patients["dose"][row]
grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)
before, after = (torch.sigmoid(0.5 - 1.5 * grid + 0.8 * amount) for amount in (dose, 2 * dose))
weight = torch.exp(-(grid**2) / 2 - (np.log(dose) - 0.5 * grid) ** 2 / (2 * 0.5**2)) * (1 - before)
expected = float((weight * (after - before) / (1 - before)).sum() / weight.sum())
print(f"recovered on twice the dose: {doubled.probability('recovered', 1)[row]:.3f}, by integration {expected:.3f}")

# %% [markdown]
# ## Rounded and censored
#
# A cell may be known to lie in an interval: an income in classes, a value below the detection limit, a stay that was
# not over yet. `pcm.Interval(low, high)` says so, and its factor is the indicator that the value lies inside. Here a
# dose was booked as "between 1 and 2", and another as "more than 3".

# %%
booked = pd.DataFrame({"severity": [0.0, 0.0], "dose": [pcm.Interval(1.0, 2.0), pcm.Interval(low=3.0)]})
booked["recovered"] = [1.0, np.nan]
rounded = pcm.SCM(ward).counterfactual(booked, do={"severity": 1.0}, seed=0)
print("doses:", rounded.mean("dose", "factual").round(4), rounded.diagnostics["intervals"].tolist())

# %% [markdown]
# By hand, on a grid: the log-normal law of the dose within the interval, times the chance of the recovery that was
# seen.

# %%
grid = np.linspace(1, 2, 20_001)
weight = np.exp(-2 * np.log(grid) ** 2) / grid / (1 + np.exp(-0.5 - 0.8 * grid))
by_hand = (weight * grid).sum() / weight.sum()
print(f"by hand: {by_hand:.4f}")
assert abs(rounded.mean("dose", "factual")[0] - by_hand) < 1e-4
assert rounded.mean("dose", "factual")[1] > 3

# %% [markdown]
# ## An outcome that was never recorded
#
# The smokers of tutorial 4, fitted without 200 of them. For those 200 the change of weight is left empty: what was it,
# and what if they had done the other thing?

# %%
people = nhefs.load()
away = people.sample(200, random_state=0)
fitted = pcm.SCM(nhefs.program, categories=nhefs.categories).fit(people.drop(away.index), seed=0, progress=False)
unweighed = away.assign(wt82_71=np.nan)
guess = fitted.counterfactual(unweighed, do={"qsmk": "quit"}, draws=500, seed=0)
low, high = guess.interval("wt82_71", 0.9, "factual").T
covered = ((low < away["wt82_71"]) & (away["wt82_71"] < high)).mean()
print(f"spread {guess.sd('wt82_71', 'factual').mean():.1f} kg; {covered:.0%} of the 90 % intervals hold the weighing")

# %% [markdown]
# The change itself is hardly known, ± 7 kg. What *quitting adds* is known much better: the person's own deviation is
# the same in both worlds and cancels in the contrast.

# %%
adds = guess.contrast("wt82_71", "do")
smoked = (away["qsmk"] == 0).to_numpy()
print(f"what quitting adds: {adds.mean[smoked].mean():.2f} kg, spread {adds.sd[smoked].mean():.2f} kg")

# %% [markdown]
# ## Fitting with what is missing
#
# `fit` integrates missing values out of the likelihood. Here a clinic releases a lab value only under Laplace noise:
# the true value is a column that nobody has. Taking the release for the value would shrink the slope by a third.


# %%
def release(n):
    slope = pyro.sample("slope", dist.Normal(0.0, 1.0))
    with pyro.plate("units", n):
        lab = pyro.sample("lab", dist.Normal(0.0, 1.0))
        pyro.sample("released", dist.Laplace(lab, 0.5))
        pyro.sample("score", dist.Normal(slope * lab, 0.5))


table = pcm.SCM(release).given(slope=1.0).sample(1_000, seed=0).drop(columns="lab")
aware = pcm.SCM(release).fit(table, seed=0, progress=False)
naive = (table["released"] * table["score"]).sum() / (table["released"] ** 2).sum()
slope, sd = float(aware.posterior.mean("slope")), float(aware.posterior["slope"].std())
print(f"noise taken for the value {naive:.2f}, noise integrated out {slope:.2f} ± {sd:.2f}, truth 1")
aware.posterior.diagnostics["missing"]

# %% [markdown]
# ## What we know to be true

# %%
for question, answer in (("Y, had A been 0; A hidden", hidden), ("Y, had X been 0; A hidden", past)):
    assert np.isclose(answer.mean("Y")[0], latent_confounder.truth[question][0], atol=1e-9)
alive, _, source = firing_squad.truth["P(not D had A held his fire | D)"]
assert np.isclose(1 - found.probability("D", 1)[0], alive, atol=1e-12)
print(f"alive, had A held his fire: {alive:.4f}, {source}")

# %%
assert ((doubled.diagnostics["khat"] > 0.7) == doubled.diagnostics["flagged"]).all()
assert abs(doubled.probability("recovered", 1)[row] - expected) < 0.05
assert abs(covered - 0.9) < 4 * (0.9 * 0.1 / 200) ** 0.5
assert adds.sd[smoked].max() < 2 < guess.sd("wt82_71", "factual").min()
assert abs(slope - 1.0) < 3 * sd < 1.0 - naive
