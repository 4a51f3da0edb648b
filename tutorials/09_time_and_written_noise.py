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
# # Noise written out, and time
#
# Two ways of writing programs that textbooks use and the tutorials so far did not: equations with the noise *in* them,
# and variables that come back at every time step. Neither needs anything new from you.

# %%
import numpy as np
import pandas as pd
import pyro
import pyro.distributions as dist
import torch

import pcm
from pcm_models import dosing, firing_squad, visits

# %% [markdown]
# ## Equations with their noise in them
#
# `pyro.sample("y", Normal(2 x, 1))` hides the noise in the distribution. An equation may also say it outright. Nobody
# ever observes `u_y`: evidence on `y` is *solved* for it.


# %%
def written():
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    u = pyro.sample("u_y", dist.Normal(0.0, 1.0))
    pyro.deterministic("y", torch.exp(0.5 * x) * torch.sinh(u))


scm = pcm.SCM(written)
unit = {"x": [0.4], "y": [1.5]}
cf = scm.counterfactual(unit, do={"x": 1.0})
print(cf.account)

# %%
u = np.arcsinh(1.5 / np.exp(0.2))
print(f"u = {cf.mean('u_y', 'factual')[0]:.6f}, by hand {u:.6f}")
print(f"y would be {cf.mean('y')[0]:.6f}, by hand {np.exp(0.5) * np.sinh(u):.6f}")

# %% [markdown]
# The map was tried, not assumed to be one to one. Where it is not, there is no answer but a refusal:


# %%
def squared():
    u = pyro.sample("u", dist.Normal(0.0, 1.0))
    pyro.deterministic("energy", u**2)
    pyro.deterministic("push", u**3 + u)


try:
    pcm.SCM(squared).counterfactual({"energy": [4.0]}, do={"push": 0.0})
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Two equations in two noises
#
# Neither of a sum and a difference is one noise's alone. Together they are one to one in both, and are solved together;
# the density is that of the noises over the determinant, here |−2|.


# %%
def pair():
    a = pyro.sample("a", dist.Normal(0.0, 1.0))
    b = pyro.sample("b", dist.Normal(0.0, 1.0))
    pyro.deterministic("total", a + b)
    pyro.deterministic("gap", a - b)


seen = {"total": [1.0], "gap": [3.0]}
both = pcm.SCM(pair).counterfactual(seen, do={"a": 0.0})
print(f"a = {both.mean('a', 'factual')[0]:g}, b = {both.mean('b', 'factual')[0]:g}")
print(f"with a = 0 the gap would be {both.mean('gap')[0]:g}")
assert np.isclose(both.mean("gap")[0], 1.0)
assert np.isclose(pcm.SCM(pair).log_prob(seen)[0], -(2**2 + 1**2) / 2 - np.log(2 * np.pi) - np.log(2))

# %% [markdown]
# ## Two noises in one equation
#
# One observed number cannot fix two noises. One is solved for, the other keeps a distribution, and the change of
# variables must not be forgotten: with x = eᵖ u, small p squeeze many u into a small interval of x, so that the density
# of x given p is that of u times e⁻ᵖ.


# %%
def scaled():
    p = pyro.sample("p", dist.Normal(0.0, 1.0))
    pyro.deterministic("x", torch.exp(p) * pyro.sample("u", dist.Normal(0.0, 1.0)))


two = pcm.SCM(scaled).counterfactual({"x": [2.0]}, do={"p": 0.0})
grid = np.linspace(-8, 8, 20_001)
density = np.exp(-0.5 * grid**2 - 0.5 * (2 * np.exp(-grid)) ** 2)
right, wrong = (np.average(grid, weights=density * w) for w in (np.exp(-grid), np.ones_like(grid)))
print(f"E[p | x = 2] = {two.mean('p', 'factual')[0]:.4f}; by hand {right:.4f}; the factor forgotten: {wrong:.4f}")

# %% [markdown]
# ## Logic
#
# Equations of 0s and 1s are not solved but enumerated. The prisoner is dead, and that is all that is known:

# %%
dead = pcm.SCM(firing_squad.program).counterfactual({"D": [1]}, do={"A": 0})
print(f"alive, had A not shot: {1 - dead.mean('D')[0]:.4f}")

# %% [markdown]
# ## Time steps
#
# A loop makes sites `x_0`, `x_1`, …. Here the dose follows severity, and severity the dose: the sicker get more.

# %%
series = pcm.SCM(dosing.program)
patients = series.sample(2_000, seed=0)
slope = np.polyfit(patients["d_0"], patients["x_1"], 1)[0]
print(f"slope of x_1 on d_0: {slope:+.2f}; effect of the drug: {dosing.truth['effect of d_0 on x_1'][0]:+.2f}")

# %% [markdown]
# Plans are interventions from a time on: constants, or policies that read the severity of the same visit.

# %%
stop = {f"d_{t}": 0.0 for t in range(3, dosing.VISITS)}
more = {"d_6": lambda x_6: 0.8 * x_6, "d_7": lambda x_7: 0.8 * x_7}
course = series.counterfactual(patients, worlds={"stopped": stop, "more at the end": more})
for world in course.worlds:
    print(f"{world:16} x_8 = {course.mean('x_8', world).mean():+.3f} on average")

# %% [markdown]
# These are the same patients with the same noise, visit by visit. Before the plan nothing differs.

# %%
x = patients["x_3"].to_numpy()
for t in range(3, dosing.VISITS):
    noise = patients[f"x_{t + 1}"] - 0.9 * patients[f"x_{t}"] + 0.5 * patients[f"d_{t}"]
    x = 0.9 * x + noise.to_numpy()
print(f"largest difference from the equations run by hand: {np.abs(course.mean('x_8', 'stopped') - x).max():.1e}")

# %% [markdown]
# ## Missed visits
#
# Empty cells are inferred from what came before *and after* (a Kalman smoother, where all is linear and Gaussian).

# %%
missed = patients.head(200).mask(np.random.default_rng(0).random((200, patients.shape[1])) < 0.2)
smooth = series.counterfactual(missed, do=stop, seed=0)
hole = missed["x_4"].isna().to_numpy()
error = (smooth.mean("x_4", "factual") - patients["x_4"].head(200).to_numpy())[hole] / smooth.sd("x_4", "factual")[hole]
print(f"{hole.sum()} lost x_4, found within {np.abs(error).mean():.2f} standard deviations on average")

# %% [markdown]
# ## Units within units
#
# A plate inside a unit (dim −2, then −3) holds what is repeated within it: three visits of one patient. Values are
# `[unit, visit]`, columns `score[0]`, `score[1]`, `score[2]`.

# %%
within = pcm.SCM(visits.program)
table = pd.DataFrame({f"pain[{v}]": [value] for v, value in enumerate(visits.evidence["pain"][0])}).assign(drug=1.0)
frail = within.counterfactual(table, do={"drug": 0})
print(f"frailty {frail.mean('frailty', 'factual')[0]:.4f} ± {frail.sd('frailty', 'factual')[0]:.4f}")
print(f"pain without the drug: {frail.mean('pain')[0].round(3)}")

# %% [markdown]
# ## What we know to be true

# %%
assert np.isclose(cf.mean("u_y", "factual")[0], u, atol=1e-12)
assert np.isclose(cf.mean("y")[0], np.exp(0.5) * np.sinh(u), atol=1e-12)
assert np.isclose(two.mean("p", "factual")[0], right, atol=1e-6)
assert abs(right - 0.67) < 0.005 and abs(wrong - 1.01) < 0.005
assert np.isclose(1 - dead.mean("D")[0], firing_squad.truth["P(not D had A held his fire | D)"][0], atol=1e-12)

# %%
assert np.abs(course.mean("x_8", "stopped") - x).max() < 1e-12
assert abs(course.mean("x_8", "stopped").mean() - dosing.truth["mean x_8, no dose from visit 3 on"][0]) < 0.1
assert abs(slope - dosing.truth["slope of x_1 on d_0, as observed"][0]) < 0.1
assert abs((error**2).mean() - 1) < 4 * (2 / hole.sum()) ** 0.5
assert np.isclose(frail.mean("frailty", "factual")[0], visits.truth["frailty, given the pain alone"][0], atol=1e-9)
assert np.allclose(visits.evidence["pain"][0] - frail.mean("pain")[0], -1.2)
