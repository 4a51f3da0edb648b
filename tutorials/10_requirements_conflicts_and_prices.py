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
# # Requirements, conflicts and prices
#
# Fairness, robustness, privacy and explainability ask one kind of thing of a prediction: that it does *not* respond to
# some change, or responds to it only along some paths. A `pcm.Requirement` says so on the causal graph, and `pcm.check`
# answers three questions: can these requirements coexist, if not why, and what do they cost? The case is the hospital
# of Binkyte et al. (2026, Appendix A).

# %%
import networkx as nx
import pyro
import pyro.distributions as dist

import pcm
from pcm_models import hospital_readmission as hospital

scm = pcm.SCM(hospital.program)
print(scm)

# %% [markdown]
# `A` is a protected attribute and `E` the hospital; both move the laboratory value `X`. A doctor may respond to what
# `A` does to the body, A → X → Y, and to nothing else about `A`. And a model that is carried to another hospital should
# not respond to what the hospital does to `X`.
#
# ## Writing requirements
#
# Paths are strings; `*` is one variable, `...` any number; a pair of names is an edge; `"none"` is full invariance
# (counterfactual fairness, if the source is a protected attribute), `"all"` full response.

# %%
fair = pcm.path_specific_fairness("A", outcome="Y", admissible=["A -> X -> Y"])
robust = pcm.environment_invariance("E", outcome="Y", admissible=["E -> Y"])
blind = pcm.counterfactual_fairness("A", outcome="Y")
for requirement in (fair, robust, blind):
    print(requirement)
fair.on(scm.graph)  # green: admissible; red: not; amber: paths of both kinds go over it

# %% [markdown]
# A misspelt path is refused, and the nearest one is named.

# %%
try:
    pcm.check(scm, [pcm.Requirement("A", outcome="Y", admissible="A -> Z -> X -> Y")])
except pcm.PCMError as error:
    print(error)
else:
    raise AssertionError("an error was expected")

# %% [markdown]
# ## Can they coexist, and at what price?

# %%
verdict = pcm.check(scm, [fair, robust])
print(verdict)

# %% [markdown]
# They can, at a price. How to read the table:
#
# - **faithful**: the prediction of the *target*, the outcome with every inadmissible edge fed a draw of its source that
#   has nothing to do with the unit. It responds to `A` by .8, as the outcome does along A → X → Y, and to `E` by .5.
# - **observational optimum**: the best predictor that reads corrected features alone. Its error is smaller, but it
#   moves with `A` by 1.31: what was closed comes back through `X`. The difference is the *laundering gap*. "Block the
#   path and train" is gamed in just this way.
# - **price**: the faithful predictor's risk above the best one's. **Least price**: the least that any predictor with
#   these responses on average pays, and over which predictors that was looked for. **Shadow prices**: the slope of the
#   least price as a pinned response grows by one unit, which is also what a unit of tolerance saves.
#
# Closing everything about `A` (5.41) costs far more than closing what is not medical (2.69).

# %%
selective, uniform = verdict.row("A: A → X → Y, faithful"), verdict.row("uniform in A")
print(f"selective {float(selective.price):.2f}, uniform {float(uniform.price):.2f}")
verdict.plot()

# %% [markdown]
# What the laundered gain is worth shows under an intervention: let the laboratory values spread out. The faithful
# predictor's error stays, for it responds to X as the outcome does; the optimum's explodes.

# %%
alone = pcm.check(scm, [fair])
for variance in (1.64, 9.0, 100.0):
    other = scm.do(X=dist.Normal(0.0, variance**0.5))
    faithful = float(alone.risk_under(other))
    optimum = float(alone.risk_under(other, "A: A → X → Y, observational optimum"))
    print(f"do(X) with variance {variance:g}: faithful {faithful:.3f}, observational optimum {optimum:.3f}")

# %% [markdown]
# ## Conflicts
#
# Two requirements on one source that pin different responses contradict each other. The answer is a minimal core (leave
# any one out and the rest can be met) and a certificate that can be checked on the graph.

# %%
contradiction = pcm.check(scm, [fair, robust, blind])
print(contradiction.conflicts[0])
print("core:", contradiction.core)

# %% [markdown]
# A requirement may also close what another one needs further along the path …

# %%
closed = pcm.check(scm, [fair, pcm.irrelevant_to("X", outcome="Y")])
print(closed.conflicts[0])

# %% [markdown]
# … or ask twice of one unit for what happens once (a *recanting witness*): then the target exists inside the model, but
# no experiment identifies it.


# %%
def kite():
    a = pyro.sample("A", dist.Normal(0.0, 1.0))
    w = pyro.sample("W", dist.Normal(a, 1.0))
    b, c = pyro.sample("B", dist.Normal(w, 1.0)), pyro.sample("C", dist.Normal(w, 1.0))
    pyro.sample("Y", dist.Normal(b + c, 1.0))


witness = pcm.check(pcm.SCM(kite), [pcm.Requirement("A", outcome="Y", admissible="A -> W -> B -> Y")])
print(witness.conflicts[0])

# %% [markdown]
# Demographic parity and equalised odds are no path requirements: they speak of dependence, whatever its cause, under
# the observational law. Together they leave only constants wherever the outcome depends on the attribute.

# %%
parity, odds = pcm.demographic_parity("A", outcome="Y"), pcm.equalized_odds("A", outcome="Y")
impossible = pcm.check(scm, [parity, odds])
print(impossible.conflicts[0])

# %% [markdown]
# ## What is not observed
#
# Without the hospital's name nobody can tell what in `X` came from it. The faithful predictor is still the best guess
# at the target, and the check says what remains: it responds to `E` by .75, .25 too much.

# %%
hidden = pcm.check(scm, [fair, robust], hidden=["E"])
print(hidden)

# %% [markdown]
# ## Two readings of one sentence
#
# The paper calls the hospital's influence a measurement artifact. As drawn above, `X` itself differs between hospitals
# and is a cause of readmission, and robustness costs 1 everywhere. If the machine merely *shows* X_true + E, whoever
# knows the hospital corrects for it, and robustness is free: the joint price falls from 2.69 to 1.69.

# %%
artifact = pcm.SCM(hospital.artifact)
corrected = pcm.check(artifact, [hospital.fair_artifact, robust], hidden=["X_true"])
free = pcm.check(artifact, [robust], hidden=["X_true"])
print(corrected.price, free.kinds, sep="\n")

# %% [markdown]
# ## Beyond straight lines
#
# Where equations are not linear the same table is simulated: node copies that share a unit's noise, with Monte-Carlo
# standard errors. Here readmission is an event, and risks are on the probability scale.

# %%
event = pcm.check(pcm.SCM(hospital.binary), [fair, robust], units=5_000, seed=0)
print(event)

# %% [markdown]
# The least price is then over polynomial corrections, and says so; where every variable is finite it is exact, over
# every function of the inputs. So is the price of demographic parity and of equalised odds, over every prediction,
# randomised ones too; beyond that parity in groups costs what the barycentre of their scores does.


# %%
def hiring():
    a = pyro.sample("a", dist.Bernoulli(0.5))
    x = pyro.sample("x", dist.Bernoulli(0.3 + 0.4 * a))
    pyro.sample("y", dist.Bernoulli(0.1 + 0.6 * x + 0.2 * a))


hired = {
    asked.label: pcm.check(pcm.SCM(hiring), [asked], units=2_000, seed=0)
    for asked in (
        pcm.counterfactual_fairness("a", outcome="y"),
        pcm.demographic_parity("a", outcome="y"),
        pcm.equalized_odds("a", outcome="y"),
    )
}
for label, found in hired.items():
    print(f"{label}: least {found.price_minimum}, over {found.least_over}")

# %% [markdown]
# ## When the graph is not known
#
# A list of graphs, or one with undirected edges, is checked member by member.

# %%
unsure = nx.DiGraph([("A", "X"), ("X", "A"), ("A", "Y"), ("X", "Y"), ("N", "Y")])
class_of = pcm.check(
    unsure, [pcm.Requirement("A", outcome="Y", admissible="A -> X -> Y"), pcm.irrelevant_to("X", outcome="Y")]
)
print(class_of)
class_of.table

# %% [markdown]
# ## What we know to be true

# %%
truth = {question: value for question, (value, _, _) in hospital.truth.items()}
assert abs(float(verdict.price) - truth["price of both"]) < 1e-6
assert abs(float(selective.risk) - truth["MSE, fair"]) < 1e-6
assert abs(float(uniform.risk) - truth["MSE, uniform in A"]) < 1e-6
assert abs(optimum - (1 + 1.69 + (1.04 / 1.64) ** 2 * 101)) < 1e-6 and abs(faithful - 2.69) < 1e-6
assert contradiction.core == (fair, blind) and not contradiction.feasible
assert (closed.kinds[0], witness.kinds[0]) == ("subsumption", "recanting witness")
assert witness.feasible and not impossible.feasible
assert abs(float(hidden.gaps["E"]) - 0.25) < 1e-6 and "informational" in hidden.kinds
assert abs(float(corrected.row("together, faithful").risk) - 2.69) < 1e-6 and free.kinds == ("free",)
assert abs(event.price.mean - truth["price of both, binary outcome"]) < 4 * event.price.standard_error
assert class_of.probability == 0.5
# units at .1 and .7, at .3 and .9 of the two groups: .2² and .8² apart over .6 and .4 of the ranks, a quarter of it
assert abs(float(hired["prediction ⊥ a"].price) - (0.6 * 0.2**2 + 0.4 * 0.8**2) / 4) < 1e-9
assert hired["a: none"].price_minimum.standard_error == 0
