"""Pictures: files <-> samples <-> floats. The one place that knows range, colour and file formats.

Inside wildsr a picture is RGB, (3, H, W) or (B, 3, H, W), float32 in [0, 1]; uint8 stands only at the file's edge and in the loader.
Two ways lead in: `open_picture` and `read` are strict, for training and measuring; `read_photo` takes pictures as they are, with what
belongs to them (profile, EXIF, XMP, resolution), for the upscaler. `write_photo` leads out."""

from wildsr.images.meta import Meta as Meta
from wildsr.images.photo import Photo as Photo
from wildsr.images.photo import read_photo as read_photo
from wildsr.images.pixels import crop_to_multiple as crop_to_multiple
from wildsr.images.pixels import from_pillow as from_pillow
from wildsr.images.pixels import pixels_sha256 as pixels_sha256
from wildsr.images.pixels import to_float as to_float
from wildsr.images.pixels import to_pillow as to_pillow
from wildsr.images.pixels import to_uint8 as to_uint8
from wildsr.images.pixels import to_y as to_y
from wildsr.images.reading import MAX_PIXELS as MAX_PIXELS
from wildsr.images.reading import SUFFIXES as SUFFIXES
from wildsr.images.reading import decode as decode
from wildsr.images.reading import find as find
from wildsr.images.reading import open_picture as open_picture
from wildsr.images.reading import read as read
from wildsr.images.reading import require_pixels as require_pixels
from wildsr.images.reading import unique_stems as unique_stems
from wildsr.images.writing import FORMATS as FORMATS
from wildsr.images.writing import Format as Format
from wildsr.images.writing import format_of as format_of
from wildsr.images.writing import png as png
from wildsr.images.writing import require_writable as require_writable
from wildsr.images.writing import write as write
from wildsr.images.writing import write_once as write_once
from wildsr.images.writing import write_photo as write_photo
