"""Degradations: the random ones that training draws from, and the fixed ones that the benchmark measures on.

A random one is a configuration with `random`, `canvas`, `require`, `sample`, `apply` and `patches`; a new one joins `DegradationConfig`."""

from typing import Annotated

from pydantic import Field

from wildsr.degrade.bicubic import Bicubic as Bicubic
from wildsr.degrade.bicubic import Params as Params
from wildsr.degrade.fixed import PRESETS as PRESETS
from wildsr.degrade.fixed import ROUNDED as ROUNDED
from wildsr.degrade.fixed import Fixed as Fixed
from wildsr.degrade.fixed import blur_uint8 as blur_uint8
from wildsr.degrade.fixed import fixed as fixed
from wildsr.degrade.fixed import noise_uint8 as noise_uint8
from wildsr.degrade.operators import unsharp_mask as unsharp_mask
from wildsr.degrade.two_order import Stage as Stage
from wildsr.degrade.two_order import TwoOrder as TwoOrder
from wildsr.degrade.unseen import UNSEEN as UNSEEN

DegradationConfig = Annotated[TwoOrder | Bicubic, Field(discriminator="name")]
"""Any degradation to train with, told apart by `name`: the list that a new one joins."""
