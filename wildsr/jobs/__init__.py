"""Whole jobs, made of the rooms: what each verb of the command line does."""

from wildsr.checkpoint import DEFAULT as DEFAULT
from wildsr.jobs.common import model_files as model_files
from wildsr.jobs.explaining import explain_models as explain_models
from wildsr.jobs.measuring import Pairs as Pairs
from wildsr.jobs.measuring import bench as bench
from wildsr.jobs.measuring import contenders as contenders
from wildsr.jobs.measuring import failures as failures
from wildsr.jobs.pictures import check as check
from wildsr.jobs.pictures import degrade_files as degrade_files
from wildsr.jobs.pictures import degrade_sets as degrade_sets
from wildsr.jobs.pictures import expand as expand
from wildsr.jobs.training import feature_cosines as feature_cosines
from wildsr.jobs.training import recipes_text as recipes_text
from wildsr.jobs.training import train as train
from wildsr.jobs.upscaling import Outcome as Outcome
from wildsr.jobs.upscaling import upscale_files as upscale_files
