"""A page on this machine: drop a picture, choose a model, compare, download. Needs Gradio (the extra `app`)."""

from wildsr.app.serving import serve as serve
from wildsr.app.work import MAX_PIXELS as MAX_PIXELS
from wildsr.app.work import TIME_LIMIT as TIME_LIMIT
from wildsr.app.work import Limits as Limits
from wildsr.app.work import Offer as Offer
from wildsr.app.work import Workshop as Workshop
from wildsr.app.work import offers as offers
