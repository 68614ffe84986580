"""What is inside networks, as data and as figures: Figures 6 to 9 of the papers for any network."""

from wildsr.explain.figures import WHAT as WHAT
from wildsr.explain.figures import Arrays as Arrays
from wildsr.explain.figures import arrays_of as arrays_of
from wildsr.explain.figures import draw as draw
from wildsr.explain.figures import require_matplotlib as require_matplotlib
from wildsr.explain.figures import save as save
from wildsr.explain.study import OF_CHANNELS as OF_CHANNELS
from wildsr.explain.study import Found as Found
from wildsr.explain.study import Options as Options
from wildsr.explain.study import Picture as Picture
from wildsr.explain.study import Subject as Subject
from wildsr.explain.study import Task as Task
from wildsr.explain.study import attribution as attribution
from wildsr.explain.study import channels as channels
from wildsr.explain.study import clusters as clusters
from wildsr.explain.study import cosines as cosines
from wildsr.explain.study import indices as indices
from wildsr.explain.study import others as others
from wildsr.explain.study import require_alike as require_alike
from wildsr.explain.study import require_one_protocol as require_one_protocol
