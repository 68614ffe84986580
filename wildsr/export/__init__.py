"""Models for other programs: weights, ONNX, torch.export, catalogue entries and cards; and what a model file is, for a stranger."""

from wildsr.export.converting import KINDS as KINDS
from wildsr.export.converting import convert as convert
from wildsr.export.describing import describe as describe
from wildsr.export.elsewhere import Facts as Facts
from wildsr.export.elsewhere import facts as facts
