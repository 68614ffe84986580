"""Upscaling: a loaded model is a callable that tiles and clamps; pictures of any kind go through it strip by strip."""

from wildsr.upscale.foreign import Adapted as Adapted
from wildsr.upscale.foreign import load_foreign as load_foreign
from wildsr.upscale.model import OVERLAP as OVERLAP
from wildsr.upscale.model import PRECISIONS as PRECISIONS
from wildsr.upscale.model import TILE as TILE
from wildsr.upscale.model import Model as Model
from wildsr.upscale.model import load as load
from wildsr.upscale.model import overlap as overlap
from wildsr.upscale.reach import receptive_radius as receptive_radius
from wildsr.upscale.seams import Seams as Seams
from wildsr.upscale.seams import known_seams as known_seams
from wildsr.upscale.seams import measure_seams as measure_seams
from wildsr.upscale.seams import seams_of as seams_of
from wildsr.upscale.strips import ALPHAS as ALPHAS
from wildsr.upscale.strips import Enlarged as Enlarged
from wildsr.upscale.strips import enlarge as enlarge
