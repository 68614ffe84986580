"""Training: one loop that reads from top to bottom. All that varies with time is a pure function of images seen, so that the same
command again continues a run, and on one machine the result is the same to the byte as if it had never stopped."""

from wildsr.train.config import BETAS as BETAS
from wildsr.train.config import BOOKKEEPING as BOOKKEEPING
from wildsr.train.config import SCHEDULES as SCHEDULES
from wildsr.train.config import TrainConfig as TrainConfig
from wildsr.train.config import require_sites as require_sites
from wildsr.train.loop import train as train
from wildsr.train.processes import placed as placed
from wildsr.train.samples import Samples as Samples
