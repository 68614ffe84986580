"""Regularisers that make super-resolution networks generalise, attached from outside to named sites of any nn.Module.

    with wildsr.attach(net, FeatureDropout(p=0.7)) as attached:
        attached.begin(n, progress)                    # all chance is drawn here
        loss = l1(net(lr), hr) + sum(attached.losses().values())

A regulariser is its configuration and pure functions: what it draws, what it does to a feature, what it charges for it."""

from typing import Annotated

from pydantic import Field

from wildsr.regularize.alignment import FeatureAlignment as FeatureAlignment
from wildsr.regularize.dropout import AdaptiveDropout as AdaptiveDropout
from wildsr.regularize.dropout import FeatureDropout as FeatureDropout
from wildsr.regularize.regularizer import Regularizer as Regularizer
from wildsr.regularize.taps import Attached as Attached
from wildsr.regularize.taps import attach as attach

RegularizerConfig = Annotated[FeatureDropout | FeatureAlignment | AdaptiveDropout, Field(discriminator="name")]
"""Any regulariser in a configuration, told apart by `name`: the list that a new one joins."""
