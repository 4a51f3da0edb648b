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
# # Checking a model
#
# A causal answer is as good as the model behind it. Four questions, in this order:
#
# 1. Does the graph let the data answer at all? (`identify`)
# 2. Do the data contradict the model? (`criticise`)
# 3. Are there people to compare with, or is the answer extrapolated? (`overlap`)
# 4. How wrong may the rest be, which no data can test, before the answer changes? (`sensitivity`)
#
# All data here are made by a program that we know, so that we see what each check finds, and what it cannot find.

# %%
import networkx as nx
import numpy as np
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm_models import nhefs

# %% [markdown]
# ## 1. Can the data answer at all?
#
# Ability helps at school, and at work.


# %%
def world():
    ability = pyro.sample("ability", dist.Normal(0.0, 1.0))
    schooling = pyro.sample("schooling", dist.Normal(0.6 * ability, 1.0))
    pyro.sample("wage", dist.Normal(0.5 * schooling + 0.7 * ability, 1.0))


scm = pcm.SCM(world)
scm.graph

# %% [markdown]
# With all three observed, the effect of schooling is identified, and `identify` gives the formula.

# %%
seen = pcm.identify(scm, "schooling", "wage")
seen

# %% [markdown]
# Without ability it is not. The *hedge* is the proof: a pattern in the graph for which there are two models with the
# same data and different effects.

# %%
unseen = pcm.identify(scm, "schooling", "wage", latent=["ability"])
unseen

# %%
assert seen.identified and seen.adjustment == {"ability"}
assert not unseen and unseen.witness is not None

# %% [markdown]
# An unseen common cause is not always the end. Where all of an effect passes by a variable that the cause does not
# touch, there is the front door. No fit is needed to ask; a graph will do.

# %%
smoking = nx.DiGraph([("gene", "smoking"), ("gene", "cancer"), ("smoking", "tar"), ("tar", "cancer")])
pcm.identify(smoking, "smoking", "cancer", latent=["gene"])

# %% [markdown]
# ## 2. Do the data contradict the model?
#
# A drug's level in the blood saturates with the dose. We do not know that, and fit straight lines.


# %%
def saturating():
    dose = pyro.sample("dose", dist.Normal(0.0, 1.0))
    level = pyro.sample("level", dist.Normal(2 * torch.tanh(1.5 * dose), 0.4))
    pyro.sample("response", dist.Normal(0.8 * level, 0.5))


def straight(n):
    slope, gain = pyro.sample("slopes", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(torch.ones(2)).to_event(1))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Normal(0.0, 1.0))
        level = pyro.sample("level", dist.Normal(slope * dose, spread[0]))
        pyro.sample("response", dist.Normal(gain * level, spread[1]))


data = pcm.SCM(saturating).sample(800, seed=0)
lines = pcm.SCM(straight).fit(data, seed=0, progress=False)
found = pcm.criticise(lines, data, seed=0)
found

# %% [markdown]
# `level` is in doubt, and why: it depends on the dose in another way. `criticise` looks at each mechanism's noise,
# which should follow its law and have nothing to do with its inputs. On the right the noise against the dose: the curve
# that the line misses.

# %%
found.plot("level")

# %% [markdown]
# Does it matter? The effect of dose 2 against 0, from the line:

# %%
by_line = pcm.ate(lines, "dose", "response", treated=2.0, control=0.0, seed=0)
by_line

# %% [markdown]
# Mend the mechanism that was named, and look again.


# %%
def curved(n):
    top, gain = pyro.sample("slopes", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    steep = pyro.sample("steep", dist.HalfNormal(2.0))
    spread = pyro.sample("spread", dist.HalfNormal(torch.ones(2)).to_event(1))
    with pyro.plate("units", n):
        dose = pyro.sample("dose", dist.Normal(0.0, 1.0))
        level = pyro.sample("level", dist.Normal(top * torch.tanh(steep * dose), spread[0]))
        pyro.sample("response", dist.Normal(gain * level, spread[1]))


mended = pcm.SCM(curved).fit(data, seed=0, progress=False)
again = pcm.criticise(mended, data, seed=0)
print(again.verdict["overall"])
by_curve = pcm.ate(mended, "dose", "response", treated=2.0, control=0.0, seed=0)
by_curve

# %%
assert not found.passed and found.verdict["overall"] == "mechanisms in doubt: level"
assert again.passed

# %% [markdown]
# The line said 2.2, with an interval that looks sure of itself; the truth is 0.8 · 2 · tanh(3) = 1.59. An interval says
# what a model leaves open. It does not say that the model is right.
#
# A missing arrow is found in another way. A graph implies independencies, and data can violate them:


# %%
def stay():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    labs = pyro.sample("labs", dist.Normal(0.8 * age, 0.5))
    pyro.sample("days", dist.Normal(0.9 * labs + 0.6 * age, 1.0))


def without_the_arrow(n):
    a, b = pyro.sample("slopes", dist.Normal(torch.zeros(2), 2.0).to_event(1))
    spread = pyro.sample("spread", dist.HalfNormal(torch.ones(2)).to_event(1))
    with pyro.plate("units", n):
        age = pyro.sample("age", dist.Normal(0.0, 1.0))
        labs = pyro.sample("labs", dist.Normal(a * age, spread[0]))
        pyro.sample("days", dist.Normal(b * labs, spread[1]))


patients = pcm.SCM(stay).sample(800, seed=0)
thin = pcm.criticise(pcm.SCM(without_the_arrow).fit(patients, seed=0, progress=False), patients, seed=0)
print(thin.verdict["graph"])
assert not thin.passed and "days depends on age given labs" in thin.verdict["graph"]

# %% [markdown]
# Data with holes are criticised too. An empty cell is filled by one draw from the model given the rest of its row; it
# never speaks against the model, so a right one is not called wrong more often. Lose a tenth of the cells:

# %%
rng = np.random.default_rng(0)
holed = data.mask(rng.random(data.shape) < 0.1)
lines_again = pcm.SCM(straight).fit(holed, seed=0, progress=False)
of_holed = pcm.criticise(lines_again, holed, seed=0)
print(of_holed.verdict["overall"])
print(*of_holed.notes, sep="\n")
assert of_holed.verdict["overall"] == "mechanisms in doubt: level"

# %% [markdown]
# A model whose parameters were never fitted cannot be criticised:

# %%
try:
    pcm.criticise(pcm.SCM(straight), data)
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## What no check of the data finds
#
# Back to schooling, with ability unseen. Fit a line of wage on schooling: all is as it should be, and the answer is
# wrong.


# %%
def naive(n):
    effect = pyro.sample("effect", dist.Normal(0.0, 2.0))
    spread = pyro.sample("spread", dist.HalfNormal(torch.full((2,), 2.0)).to_event(1))
    with pyro.plate("units", n):
        schooling = pyro.sample("schooling", dist.Normal(0.0, spread[0]))
        pyro.sample("wage", dist.Normal(effect * schooling, spread[1]))


people = scm.sample(2_000, seed=0).drop(columns="ability")
fitted = pcm.SCM(naive).fit(people, seed=0, progress=False)
silent = pcm.criticise(fitted, people, seed=0)
effect = pcm.ate(fitted, "schooling", "wage", data=people, seed=0)
print(silent.verdict["overall"])
print(effect)

# %% [markdown]
# The true effect is 0.5. The law of the data fits perfectly: that is what "not identified" means. To pass every check
# is not to be right.
#
# ## 3. Are there people to compare with?
#
# The old are treated and the young are not, almost without exception. At the ends there is nobody to compare with, and
# the model's word is all there is.


# %%
def one_sided():
    age = pyro.sample("age", dist.Normal(0.0, 1.0))
    treated = pyro.sample("treated", dist.Bernoulli(logits=3 * age))
    pyro.sample("days", dist.Normal(2 - treated + age, 1.0))


ward = pcm.SCM(one_sided)
admitted = ward.sample(1_000, seed=0)
compared = pcm.overlap(ward, "treated", admitted, outcome="days")
compared

# %%
compared.plot()

# %% [markdown]
# Shaded: those with a chance under 5 % of the one or the other treatment. Nearly a third of the effect rests on them.
# The study of smokers is another matter:

# %%
smokers = nhefs.load()
study = pcm.SCM(nhefs.program, categories=nhefs.categories).fit(smokers, draws=1000, seed=0, progress=False)
pcm.overlap(study, "qsmk", smokers, outcome="wt82_71", seed=0)

# %% [markdown]
# ## 4. How wrong may the rest be?
#
# Assume a confounder that was not measured. How strong must it be, on treatment and on outcome, to explain the effect
# away?

# %%
doubt = pcm.sensitivity(effect, data=people, seed=0)
doubt

# %% [markdown]
# It does not say whether there is such a confounder. But if we can say how strong it is, it says what is left. Ability
# moves schooling by 0.6 and wage by 0.7:

# %%
left = doubt.adjusted(0.6, 0.7)
print(f"{effect.mean:.2f} as fitted, {left:.2f} with such a confounder taken out; truly 0.50")

# %% [markdown]
# In a real study nobody knows. There, what *was* measured is the yardstick: a confounder as strong as age would take
# quitting's 3.5 kg down to about 2.2. One that brings it to 0 would have to be much stronger than any of the nine.

# %%
smoke = pcm.sensitivity(study, "qsmk", "wt82_71", data=smokers, draws=500, seed=0)
smoke.benchmarks.round(2)

# %%
smoke.plot()

# %% [markdown]
# ## What we know to be true
#
# The effect under the true curve, and what a straight line makes of that curve: by Stein's lemma its slope is the mean
# of the curve's derivative.

# %%
nodes, weights = np.polynomial.hermite_e.hermegauss(80)
slope = (weights / weights.sum()) @ (3 / np.cosh(1.5 * nodes) ** 2)
print(f"curve {by_curve.mean:.3f}, truly {1.6 * np.tanh(3):.3f}; line {by_line.mean:.3f}, expected {1.6 * slope:.3f}")
assert abs(by_curve.mean - 1.6 * np.tanh(3)) < 3 * by_curve.sd
assert abs(by_line.mean - 1.6 * slope) < 0.1
assert abs(by_line.mean - 1.6 * np.tanh(3)) > 10 * by_line.sd

# %% [markdown]
# The naive slope is 0.5 plus the bias 0.7 · 0.6 / 1.36, and the robustness value follows from the partial R² of that
# regression (Cinelli & Hazlett 2020).

# %%
biased, residual = 0.5 + 0.7 * 0.6 / 1.36, 1 + 0.7**2 * (1 - 0.6**2 / 1.36)
f2 = biased**2 * 1.36 / residual
value = (np.sqrt(f2**2 + 4 * f2) - f2) / 2
print(f"naive {effect.mean:.3f}, expected {biased:.3f}; robustness value {doubt.robustness_value:.3f}, {value:.3f}")
assert silent.passed
assert abs(effect.mean - biased) < 3 * effect.sd
assert abs(left - 0.5) < 3 * effect.sd
assert abs(doubt.robustness_value - value) < 0.02

# %%
flagged = 1 / (1 + np.exp(-3 * admitted["age"].abs())) > 0.95
assert len(compared.flagged) == flagged.sum()
assert np.isclose(compared.share, flagged.mean())  # the effect is the same for everyone
assert (smoke.benchmarks["effect"] > 0).all()
