"""Worlds: what ``do`` sets, what a world replays, and the runs themselves.

>>> from pcm.worlds import WorldPlan, replay
"""

from __future__ import annotations

from pcm.worlds.failure import fault as fault
from pcm.worlds.forward import forward as forward
from pcm.worlds.forward import noise_shape as noise_shape
from pcm.worlds.forward import world_noise as world_noise
from pcm.worlds.intervention import Baseline as Baseline
from pcm.worlds.intervention import Constant as Constant
from pcm.worlds.intervention import Function as Function
from pcm.worlds.intervention import Intervention as Intervention
from pcm.worlds.intervention import PerUnit as PerUnit
from pcm.worlds.intervention import Stochastic as Stochastic
from pcm.worlds.intervention import Target as Target
from pcm.worlds.intervention import align as align
from pcm.worlds.intervention import read_interventions as read_interventions
from pcm.worlds.joint import Joint as Joint
from pcm.worlds.lanes import CHUNK as CHUNK
from pcm.worlds.lanes import GRAIN as GRAIN
from pcm.worlds.lanes import SMALL as SMALL
from pcm.worlds.lanes import lane_count as lane_count
from pcm.worlds.lanes import over_lanes as over_lanes
from pcm.worlds.lanes import settle_allocator as settle_allocator
from pcm.worlds.lanes import sum_within as sum_within
from pcm.worlds.noise import choose_seed as choose_seed
from pcm.worlds.noise import uniforms as uniforms
from pcm.worlds.plan import MAX_ASSIGNMENTS as MAX_ASSIGNMENTS
from pcm.worlds.plan import WorldPlan as WorldPlan
from pcm.worlds.replay import Factual as Factual
from pcm.worlds.replay import Replayed as Replayed
from pcm.worlds.replay import Run as Run
from pcm.worlds.replay import factual as factual
from pcm.worlds.replay import replay as replay
from pcm.worlds.replay import set_value as set_value

__all__ = [
    "CHUNK",
    "GRAIN",
    "MAX_ASSIGNMENTS",
    "SMALL",
    "Baseline",
    "Constant",
    "Factual",
    "Function",
    "Intervention",
    "Joint",
    "PerUnit",
    "Replayed",
    "Run",
    "Stochastic",
    "Target",
    "WorldPlan",
    "align",
    "choose_seed",
    "factual",
    "fault",
    "forward",
    "lane_count",
    "noise_shape",
    "over_lanes",
    "read_interventions",
    "replay",
    "set_value",
    "settle_allocator",
    "sum_within",
    "uniforms",
    "world_noise",
]
