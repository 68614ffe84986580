"""Model files: flat safetensors that say what they are, and are equal to the byte for equal training. Foreign files run no code."""

from wildsr.checkpoint.reading import Stored as Stored
from wildsr.checkpoint.reading import UnknownNetworkError as UnknownNetworkError
from wildsr.checkpoint.reading import interpret as interpret
from wildsr.checkpoint.reading import kind_of as kind_of
from wildsr.checkpoint.reading import load as load
from wildsr.checkpoint.reading import model_file as model_file
from wildsr.checkpoint.reading import read as read
from wildsr.checkpoint.reading import read_safetensors as read_safetensors
from wildsr.checkpoint.reading import weights_keys as weights_keys
from wildsr.checkpoint.shipped import DEFAULT as DEFAULT
from wildsr.checkpoint.shipped import SHIPPED as SHIPPED
from wildsr.checkpoint.shipped import shipped as shipped
from wildsr.checkpoint.shipped import shipped_as as shipped_as
from wildsr.checkpoint.state import load_state as load_state
from wildsr.checkpoint.state import save_state as save_state
from wildsr.checkpoint.weights import Checkpoint as Checkpoint
from wildsr.checkpoint.weights import build as build
from wildsr.checkpoint.weights import parameter_count as parameter_count
from wildsr.checkpoint.weights import weights_sha256 as weights_sha256
from wildsr.checkpoint.writing import FORMAT_VERSION as FORMAT_VERSION
from wildsr.checkpoint.writing import metadata_of as metadata_of
from wildsr.checkpoint.writing import save as save
from wildsr.checkpoint.writing import write_safetensors as write_safetensors
