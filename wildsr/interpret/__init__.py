"""What happens inside a network: any nn.Module, at named sites."""

from wildsr.interpret.features import feature_cosine as feature_cosine
from wildsr.interpret.features import features as features
