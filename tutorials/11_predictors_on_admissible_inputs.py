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
# # Predictors on admissible inputs
#
# A requirement says along which paths a prediction may respond to a source: a protected attribute, an environment. From
# the causal model follows what the predictor may read. Here: the predictor, what it is sure of, how it bears
# interventions, and how a torch model of your own is trained to the same end. Then real people.

# %%
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm_models import nhefs_prediction


def program():
    a = pyro.sample("A", dist.Normal(0.0, 1.0))  # protected
    e = pyro.sample("E", dist.Normal(0.0, 1.0))  # environment
    x = pyro.sample("X", dist.Normal(0.8 * a + e, 1.0))
    z = pyro.sample("Z", dist.Normal(a, 1.0))
    pyro.sample("Y", dist.Normal(x + 0.6 * z + 0.7 * a + 0.5 * e, 1.0))


scm = pcm.SCM(program)
rows, later = scm.sample(10_000, seed=1), scm.sample(10_000, seed=2)
fair = pcm.Requirement("A", outcome="Y", admissible=["A -> X -> Y"])
fair.on(scm.graph)

# %% [markdown]
# Y responds to A by 2.1 altogether, and by .8 along the one admissible path. The *wiring* says how each parent of Y is
# read: as it is, corrected (what it would be, had it seen A's reference), or not at all.

# %%
settings = {"requirements": [fair], "states": 8, "copies": 8}
faithful = pcm.CausalRegressor(scm, "Y", **settings).fit(rows)
print(faithful.wiring_)

# %% [markdown]
# The same inputs can be used to guess Y as well as possible. That *observational optimum* has a smaller risk: it lets A
# back in through X, which is correlated with what was taken out. Its effect of A is 1.31 rather than .8.

# %%
optimum = pcm.CausalRegressor(scm, "Y", target="observational", **settings).fit(rows)
gaps = pd.concat({"faithful": faithful.gaps(), "optimum": optimum.gaps()})
gaps.round(3)

# %% [markdown]
# That advantage is not robust. `interventional_risk` takes any fitted predictor to every world of a family: constants,
# grids, distributions, new mechanisms, or shifts of a bounded size, of which it finds the worst.

# %%
worlds = {f"X of variance {v:g}": {"X": dist.Normal(0.0, v**0.5)} for v in (1.64, 9.0, 100.0)}
risks = {
    name: pcm.interventional_risk(model, scm, worlds)
    for name, model in {"faithful": faithful, "optimum": optimum}.items()
}
table = pd.concat({name: each.to_dataframe()["risk"] for name, each in risks.items()}, axis=1)
print(table.round(2))

# %%
shifts = pcm.interventional_risk(optimum, scm, pcm.Shifts(["X"], gamma=3.0), data=rows, baselines=True)
print(shifts)
print(shifts.baselines.round(2))

# %% [markdown]
# ## What a prediction is sure of
#
# A prediction is a distribution. *Aleatoric* is what stays when everything is known, *epistemic* what more rows take
# away. There are two intervals: `of="target"` holds T, also when A is set from outside; `of="outcome"` holds Y as it
# comes, in rows like those that were learned from. Both read the admissible inputs and nothing else.

# %%
few = pcm.CausalRegressor(scm, "Y", **settings).fit(rows[:40]).predict_distribution(later[:500])
many = faithful.predict_distribution(later[:500])
print("from 40 rows:    ", few)
print("from 10,000 rows:", many)
low, high = many.interval(0.9, of="outcome").T
covered = ((low <= later["Y"][:500]) & (later["Y"][:500] <= high)).mean()
many.to_dataframe().head(3).round(2)

# %% [markdown]
# ## A hidden source
#
# Where E is required not to act through X, and nobody measured it, no correction is exact. The faithful prediction is
# still delivered, and `gaps()` says what remains; `target="matched"` is the least risk without any gap on average.

# %%
robust = pcm.Requirement("E", outcome="Y", admissible=["E -> Y"])
both = {"requirements": [fair, robust], "hidden": ["E"], "states": 4, "copies": 16}
soft = pcm.CausalRegressor(scm, "Y", **both).fit(rows[:2_000])
matched = pcm.CausalRegressor(scm, "Y", target="matched", **both).fit(rows)
hidden = pd.concat({"faithful": soft.gaps(), "matched": matched.gaps()})
hidden.round(3)

# %% [markdown]
# ## Your own torch model
#
# `pcm.Violation` is how far a model is from the target's responses: a scalar with gradients. As a penalty it trains any
# network; here a linear one, whose least risk under the constraints is a quadratic programme's: 3.94.

# %%
violation = pcm.Violation(scm, [fair, robust], inputs=["A", "X", "Z"], units=500)
torch.manual_seed(0)
network = torch.nn.Linear(3, 1).double()
inputs, outcome = violation.tensor(rows), torch.tensor(rows["Y"].to_numpy())
optimiser = torch.optim.LBFGS(network.parameters(), max_iter=60, line_search_fn="strong_wolfe")


def loss():
    optimiser.zero_grad()
    value = (network(inputs)[:, 0] - outcome).square().mean() + 1_000 * violation(network)
    value.backward()
    return value


optimiser.step(loss)
left = network(violation.tensor(later))[:, 0].detach().numpy() - later["Y"].to_numpy()
own = np.mean(left**2)
print(violation.gaps(network).round(3), f"\nrisk {own:.2f}")

# %% [markdown]
# Any other learner takes rows: `pcm.augment` replays each with A moved, and puts the target in the place of Y.

# %%
augmented = pcm.augment(scm, rows, [fair], copies=2)
names = ["A", "E", "X", "Z"]
coefficients = np.linalg.lstsq(augmented[names].to_numpy(), augmented["Y"].to_numpy(), rcond=None)[0]
print(dict(zip(names, coefficients.round(2).tolist(), strict=True)))

# %% [markdown]
# ## Twins
#
# An audit asks the *same* predictor about a row and about its counterfactual twins. Under uniform invariance, and where
# every variable on the way gives its noise away, both are told the same to the last digits.

# %%
uniform = pcm.CausalRegressor(scm, "Y", requirements=[pcm.Requirement("A", outcome="Y")]).fit(rows[:2_000])
same = pcm.twins(uniform, scm, later[:500], "A")
other = pcm.twins(optimum, scm, later[:500], "A")
print(same)
print(other)

# %% [markdown]
# A column that the admissible inputs need is asked for by name.

# %%
try:
    faithful.predict(later.drop(columns="Z"))
    raise AssertionError("an error was expected")
except pcm.PCMError as error:
    print(error)

# %% [markdown]
# ## Real people
#
# NHEFS: who will gain how much weight, from what was known in 1971 and whether they quit smoking. Race may act through
# a person's own decision to quit, sex also through body weight; nothing else may. Beside the faithful predictor stand
# the trivial ones. Means over 50 random halves, with the 5th and 95th percentile; effects in kg.

# %%
people = nhefs_prediction.load()
result = nhefs_prediction.compare(people, splits=50)
for figure in ("risk", "effect of race", "effect of sex", "difference by race"):
    print(f"\n{figure}\n{result[figure].round(2).to_string()}")

# %% [markdown]
# Weight change is hard to predict at all, and the faithful predictor gives next to nothing away: its risk is within a
# half-kg² of the best. The unaware one responds to race by almost a kilogram through schooling, cigarettes and weight,
# although it never reads race.

# %% [markdown]
# ## What we know to be true

# %%
assert np.allclose(table["faithful"], 2.69, rtol=0.06)
assert np.allclose(table["optimum"], [2.0305, 3.752, 6.711, 43.306], rtol=0.06)
assert abs(gaps.loc["faithful", "effect"]["A"] - 0.8) < 0.03 and abs(gaps.loc["optimum", "effect"]["A"] - 1.307) < 0.04
assert 0.86 < covered < 0.94 and few.epistemic.mean() > 20 * many.epistemic.mean()
assert abs(hidden.loc[("faithful", "E"), "effect"] - 0.75) < 0.05 and hidden.loc["matched", "gap"].abs().max() < 1e-9
assert abs(own - 3.94) < 0.05 * 3.94
assert np.allclose(coefficients, [-0.6, 0.5, 1.0, 0.6], atol=0.08)
assert same.max < 1e-6 < other.max

risk = result["risk", "mean"]
assert risk["faithful"] < risk["constant"] and risk["faithful"] - risk.drop("pinned").min() < 1.0
for attribute in ("race", "sex"):
    effect = result[f"effect of {attribute}"]
    assert abs(effect.loc["faithful", "mean"] - effect.loc["pinned", "mean"]) < 0.2
assert result.loc["unaware", ("effect of race", "high")] < -0.3
