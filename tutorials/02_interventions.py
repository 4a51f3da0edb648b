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
# # Interventions
#
# Seeing that patients with high laboratory values are readmitted is one thing; what happens if we *lower* the values
# is another. An intervention replaces a mechanism and leaves all others as they are. This tutorial shows the kinds
# there are, and what an average effect is.

# %%
import pyro.distributions as dist
import torch

import pcm
from pcm.figures import worlds
from pcm_models import clinic, kidney_stones

scm = pcm.SCM(clinic.program, categories=clinic.categories)
scm.graph

# %% [markdown]
# ## Setting a variable
#
# `do` returns a new model. The old one does not change. In the graph, arrows into the variable are gone.

# %%
low = scm.do(labs=0.0)
low.graph

# %%
assert set(low.graph.predecessors("labs")) == set()
assert set(scm.graph.predecessors("labs")) == {"age", "site"}

# %% [markdown]
# Readmission, as it is and with every patient's labs at 0. The same seed means the same patients: the same chance
# events, in two worlds.

# %%
natural, lowered = scm.sample(20_000, seed=0), low.sample(20_000, seed=0)
print(f"P(readmit) {natural['readmit'].mean():.3f}, after do(labs=0) {lowered['readmit'].mean():.3f}")

# %% [markdown]
# What was not downstream of the intervention is the same to the last bit:

# %%
assert (natural["age"] == lowered["age"]).all()
assert (natural["plan"] == lowered["plan"]).all()

# %% [markdown]
# ## Six ways to intervene
#
# A constant is the simplest. There are also values per unit, shifts, policies, and chance.

# %%
n = 1_000
each = scm.do(labs=torch.linspace(-1, 1, n))  # a value per unit
shift = scm.do(labs=lambda labs: labs - 1)  # its own argument: the value it would have had
policy = scm.do(plan=lambda age, site: (age > 0) * 1)  # other arguments: a rule that reads them
chance = scm.do(labs=dist.Normal(0.0, 1.0))  # another mechanism
label = scm.do({"plan": "full"})  # a dict does too; labels are understood
edge = scm.do({("age", "readmit"): 0.0})  # one arrow: readmit sees age = 0, nobody else does

# %%
assert each.sample(n)["labs"].iloc[[0, -1]].tolist() == [-1, 1]
moved = natural["labs"].head(n) - shift.sample(n, seed=0)["labs"]
assert abs(moved - 1).max() < 1e-12
treated = policy.sample(n, seed=1)
assert ((treated["plan"] == "basic") == (treated["age"] > 0)).all()
assert (label.sample(n)["plan"] == "full").all()

# %% [markdown]
# The policy reads age and site, so the graph has those arrows now, also where the rule makes no use of one.

# %%
policy.graph

# %% [markdown]
# The distribution of labs, as it is, shifted and randomised:

# %%
worlds(
    {
        "as it is": natural["labs"],
        "shifted by −1": shift.sample(20_000, seed=0)["labs"],
        "randomised": chance.sample(20_000, seed=0)["labs"],
    },
    xlabel="labs",
)

# %% [markdown]
# Interventions compose, and the last one on a variable wins:

# %%
both = low.do(plan="full").do(labs=1.0).sample(5, seed=0)
both

# %%
assert (both["labs"] == 1.0).all() and (both["plan"] == "full").all()

# %% [markdown]
# ## When it does not fit
#
# A name that is not there, a value outside the support, a wrong length: each is refused, with the culprit.


# %%
def expect_error(make):
    try:
        make()
    except pcm.PCMError as error:
        print(f"{type(error).__name__}: {error}\n")
        return
    raise AssertionError("an error was expected")


expect_error(lambda: scm.do(lab=0.0))
expect_error(lambda: scm.do(site=0.5))
expect_error(lambda: scm.do(plan="complete"))
expect_error(lambda: scm.do(labs=torch.zeros(3)).sample(5))
expect_error(lambda: scm.do({("site", "plan"): 1.0}))

# %% [markdown]
# ## The average effect of a treatment
#
# `ate` compares two arms: everyone treated, no one treated.

# %%
effect = pcm.ate(scm, "plan", "readmit", treated="basic", control="none", units=40_000, seed=0)
effect

# %% [markdown]
# The truth, by numerical integration, is −.0691. The number after ± is the Monte-Carlo error of 40,000 units. What the
# answer rests on is in its account:

# %%
effect.account

# %%
truth, _, _ = clinic.truth["ATE of plan basic on readmit"]
assert abs(float(effect) - truth) < 4 * effect.standard_error

# %% [markdown]
# ## Simpson's paradox
#
# Open surgery for kidney stones did worse than keyhole surgery, 78 % against 83 %. Yet it did better for small stones,
# and better for large ones: the large, difficult stones were sent to open surgery.

# %%
stones = kidney_stones.load()
labelled = stones.assign(
    **{name: stones[name].map(dict(enumerate(labels))) for name, labels in kidney_stones.categories.items()}
)
(stones.groupby("treatment")["recovery"].mean().round(3).rename(dict(enumerate(kidney_stones.categories["treatment"]))))

# %%
surgery = pcm.SCM(kidney_stones.program, categories=kidney_stones.categories)
surgery.graph

# %% [markdown]
# Size points at treatment *and* recovery. Intervening on treatment cuts the first arrow. With `data=` the average is
# over these 700 patients:

# %%
crude = stones.groupby("treatment")["recovery"].mean().diff().iloc[-1]
causal = pcm.ate(surgery, "treatment", "recovery", treated="open", control="puncture", data=labelled)
by_size = pcm.cate(surgery, "treatment", "recovery", given=["size"], treated="open", control="puncture", data=labelled)
print(f"seeing: {crude:+.3f}    doing: {causal.mean:+.3f}")
by_size.to_dataframe()

# %%
by_size.plot(reference=0.0)

# %% [markdown]
# ## What we know to be true

# %%
assert crude < 0 < causal.mean
assert abs(causal.mean - kidney_stones.truth["ATE of open surgery"][0]) < 1e-9
small, large = by_size.mean
assert abs(small - kidney_stones.truth["ATE of open surgery, small stones"][0]) < 1e-9
assert abs(large - kidney_stones.truth["ATE of open surgery, large stones"][0]) < 1e-9
