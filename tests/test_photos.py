"""Pictures as they are: what every format keeps, against the libraries that others use, and the table that says so."""

import contextlib
import io
import re
import resource
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icc
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageDraw, PngImagePlugin

from wildsr import images
from wildsr.errors import UserError
from wildsr.images import exif as blocks

PAGE = Path(__file__).parents[1] / "docs" / "upscaling.md"

HEIGHT, WIDTH = 24, 36


def samples(channels: int = 3, dtype: str = "uint8", flat: bool = False) -> np.ndarray:
    """Smooth, so that lossy formats come near; (H, W, C). flat: of few colours."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    planes = [x / WIDTH, y / HEIGHT, (x + y) / (WIDTH + HEIGHT), 0.2 + 0.8 * x / WIDTH][:channels]
    if channels == 2:
        planes = [planes[0], 0.2 + 0.8 * y / HEIGHT]
    values = np.stack(planes, -1)
    if flat:
        values = np.floor(values * 4) / 4
    return values.astype(np.float32) if dtype == "float32" else np.round(values * np.iinfo(dtype).max).astype(dtype)


def pillow(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


LOSSLESS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 100, "subsampling": "4:4:4"},
    "WebP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
ENDINGS = {"PNG": "png", "JPEG": "jpg", "WebP": "webp", "TIFF": "tif", "AVIF": "avif", "BMP": "bmp", "GIF": "gif", "HEIC": "heic"} | {
    "JPEG 2000": "jp2",
    "PPM, PGM": "ppm",
    "TGA": "tga",
}
NEAR = {"JPEG": 4, "AVIF": 4, "HEIC": 4}
"""How far lossy formats may be, in steps of 8 bits."""


def saved(form: str, picture: Image.Image, **options: Any) -> bytes:
    """A file as Pillow (HEIC: pillow_heif) writes it."""
    buffer = io.BytesIO()
    if form == "HEIC":
        heif = pytest.importorskip("pillow_heif")
        made = heif.from_pillow(picture)
        made.info.update({{"icc_profile": "icc_profile"}.get(name, name): value for name, value in options.items()})
        made.save(buffer, quality=100, chroma=444)
    else:
        picture.save(
            buffer, {"JPEG 2000": "JPEG2000", "PPM, PGM": "PPM", "WebP": "WEBP"}.get(form, form), **{**LOSSLESS.get(form, {}), **options}
        )
    return buffer.getvalue()


def tiff(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    shown = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
    defaults = {"photometric": "rgb" if pixels.shape[2] > 2 else "minisblack", "metadata": None}
    tifffile.imwrite(buffer, shown, **{**defaults, **options})
    return buffer.getvalue()


def exif_block(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[0x010F] = "A maker"
    block[0x0112] = orientation
    block[0x8298] = "© somebody".encode().decode("latin-1")
    block.get_ifd(blocks.EXIF)[0x829A] = 1 / 250
    block.get_ifd(blocks.EXIF)[0x9003] = "2026:01:02 03:04:05"
    block.get_ifd(blocks.GPS)[1] = "N"
    return block


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d" dc:title="\xc3\xa9t\xc3\xa9"/></x:xmpmeta>'


def exposure(block: bytes | None) -> tuple[Any, ...]:
    """What a block of `exif_block` says, as Pillow reads it."""
    found = Image.Exif()
    found.load(block or b"")
    inner, place = found.get_ifd(blocks.EXIF), found.get_ifd(blocks.GPS)
    return found.get(0x010F), found.get(0x0112), float(inner.get(0x829A, 0)), inner.get(0x9003), place.get(1)


# ------------------------------------------------------------------------------------------------ every format, every property: reading


def readable_samples(form: str, channels: int, dtype: str) -> bytes | None:
    """A file of such samples; None where the format has none."""
    pixels = samples(channels, dtype, flat=form == "GIF")
    if dtype == "float32":
        return tiff(pixels) if form == "TIFF" else None
    if dtype == "uint16":
        makers: dict[str, Callable[[], bytes]] = {
            "PNG": lambda: imagecodecs.png_encode(pixels),
            "TIFF": lambda: tiff(pixels),
            "AVIF": lambda: imagecodecs.avif_encode(pixels >> 4, level=100, bitspersample=12, pixelformat="444"),
            "JPEG 2000": lambda: imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2"),
            "PPM, PGM": lambda: b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + pixels.astype(">u2").tobytes(),
            "HEIC": lambda: heic16(pixels),
        }
        return makers[form]() if form in makers else None
    if channels == 1 and form == "AVIF":
        return imagecodecs.avif_encode(pixels[:, :, 0], level=100, pixelformat="400")
    if channels == 1 and form in ("WebP", "HEIC"):
        return None
    if channels == 4 and form in ("JPEG", "GIF", "PPM, PGM"):
        return None
    if form == "TIFF":
        return tiff(pixels, extrasamples=["unassalpha"] if channels == 4 else None)
    picture = pillow(pixels)
    if form == "BMP" and channels == 4:
        return bmp(pixels, 108)
    return saved(form, picture.quantize(64) if form == "GIF" and channels == 3 else picture)


def bmp(pixels: np.ndarray, header: int, profile: bytes = b"") -> bytes:
    """A BMP file of 32 bits with masks: BITMAPV4HEADER (108) with alpha, or BITMAPV5HEADER (124) with a profile."""
    data = np.ascontiguousarray(pixels[::-1, :, [2, 1, 0, 3]]).tobytes()
    offset = 14 + header
    head = struct.pack("<IiiHHIIiiII", header, WIDTH, HEIGHT, 1, 32, 3, len(data), 0, 0, 0, 0)
    head += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + (b"DEBM" if profile else b" niW") + bytes(48)
    head += struct.pack("<4I", 4, header + len(data), len(profile), 0) if header == 124 else b""
    return b"BM" + struct.pack("<IHHI", offset + len(data) + len(profile), 0, 0, offset) + head + data + profile


def with_profile(form: str) -> bytes:
    """Files with a profile as Pillow does not write them."""
    if form == "BMP":
        return bmp(samples(4), 124, icc.wide())
    if form == "GIF":
        data = saved(form, pillow(samples(3)).quantize(64))
        place = 13 + 3 * 2 ** ((data[10] & 7) + 1)
        pieces = [icc.wide()[at : at + 255] for at in range(0, len(icc.wide()), 255)]
        block = b"\x21\xff\x0bICCRGBG1012" + b"".join(bytes([len(piece)]) + piece for piece in pieces) + b"\0"
        return data[:place] + block + data[place:]
    data = saved(form, pillow(samples(3)))
    place = data.index(b"colr") - 4
    length = int.from_bytes(data[place : place + 4], "big")
    box = struct.pack(">I4s3B", 11 + len(icc.wide()), b"colr", 2, 0, 0) + icc.wide()
    outer = data.index(b"jp2h") - 4
    longer = int.from_bytes(data[outer : outer + 4], "big") + len(box) - length
    return data[:outer] + longer.to_bytes(4, "big") + data[outer + 4 : place] + box + data[place + length :]


def heic16(pixels: np.ndarray) -> bytes:
    heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    heif.from_bytes("RGB;16", (WIDTH, HEIGHT), pixels.tobytes()).save(buffer, quality=100, chroma=444)
    return buffer.getvalue()


def reads(form: str, what: str) -> str:
    """What the table must say of reading: "yes", "refused", or "" where there is no such file."""
    if what in SAMPLES:
        channels, dtype = SAMPLES[what]
        data = readable_samples(form, channels, dtype)
        if data is None:
            return ""
        try:
            photo = images.read_photo(data)
        except UserError:
            return "refused"
        expected = samples(channels, dtype, flat=form == "GIF")
        assert photo.pixels.dtype == dtype
        assert photo.pixels.shape == expected.shape
        step = 1 if dtype == "float32" else np.iinfo(dtype).max / 255
        near = {"uint16": 17 if form == "AVIF" else 0}.get(dtype, 0) + NEAR.get(form, 0) * step
        assert np.abs(photo.pixels.astype(float) - expected).max() <= near + (65 if form == "HEIC" else 0)
        return "yes"
    if what == "palette with transparency":
        if form not in ("PNG", "GIF"):
            return ""
        picture = pillow(samples(3, flat=True)).quantize(32)
        colours = np.asarray(picture.convert("RGB"))
        index = int(np.asarray(picture)[5, 5])
        photo = images.read_photo(saved(form, picture, transparency=index))
        assert np.array_equal(photo.pixels[..., 3], np.where(np.asarray(picture) == index, 0, 255))
        assert np.array_equal(photo.pixels[..., :3][photo.pixels[..., 3] > 0], colours[photo.pixels[..., 3] > 0])
        return "yes"
    if what == "CMYK":
        if form not in ("JPEG", "TIFF"):
            return ""
        picture = Image.fromarray(np.ascontiguousarray(samples(4)), "CMYK")
        photo = images.read_photo(saved(form, picture, icc_profile=icc.inks()))
        to_srgb = ImageCms.buildTransform(
            io.BytesIO(icc.inks()), ImageCms.createProfile("sRGB"), "CMYK", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC, flags=0x2000
        )
        expected = np.asarray(ImageCms.applyTransform(picture, to_srgb))
        assert np.abs(photo.pixels.astype(int) - expected).mean() < (2 if form == "JPEG" else 0.01)
        assert np.abs(expected.astype(int) - np.asarray(picture.convert("RGB"))).mean() > 20
        assert photo.notes == ("CMYK converted to sRGB through its profile",)
        assert photo.meta.icc is None
        plain = images.read_photo(saved(form, picture))
        assert plain.notes == ("CMYK converted to RGB plainly, for it has no profile",)
        assert np.abs(plain.pixels.astype(int) - np.asarray(picture.convert("RGB"))).max() <= (4 if form == "JPEG" else 0)
        return "yes"
    return ""


def told(form: str, name: str) -> images.Meta:
    """What is read of a file with one thing beside its samples, written by others. Raises where Pillow writes no such file."""
    if name == "ICC profile" and form in ("BMP", "GIF", "JPEG 2000"):
        return images.read_photo(with_profile(form)).meta
    picture = pillow(samples(3))
    options: dict[str, Any] = {
        "ICC profile": {"icc_profile": icc.wide()},
        "EXIF": {"exif": exif_block().tobytes()},
        "XMP": {"xmp": XMP % 1},
        "resolution": {"dpi": (300, 200)},
    }[name]
    if name == "XMP" and form == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", (XMP % 1).decode())
        options = {"pnginfo": info}
    if name == "XMP" and form == "TIFF":
        options = {"tiffinfo": {700: XMP % 1}}
    picture = picture.quantize(64) if form == "GIF" else picture
    return images.read_photo(saved(form, picture, **options)).meta


def keeps(name: str, meta: images.Meta) -> bool:
    if name == "ICC profile":
        assert meta.icc in (None, icc.wide())
        return meta.icc is not None
    if name == "EXIF":
        assert meta.exif is None or exposure(meta.exif) in (EXPOSURE, (EXPOSURE[0], None, *EXPOSURE[2:]))
        return meta.exif is not None
    if name == "XMP":
        assert meta.xmp in (None, XMP % 1)
        return meta.xmp is not None
    assert meta.dpi is None or meta.dpi == pytest.approx((300, 200), rel=1e-3)
    return meta.dpi is not None


EXPOSURE = ("A maker", 1, 1 / 250, "2026:01:02 03:04:05", "N")
SAMPLES = {"8 bit": (3, "uint8"), "16 bit": (3, "uint16"), "float": (3, "float32"), "grey": (1, "uint8"), "alpha": (4, "uint8")}
BESIDE = ("ICC profile", "EXIF", "XMP", "resolution")
FULL = images.Meta(icc.wide(), exif_block().tobytes(), XMP % 1, (300, 200))


def writes(form: str, what: str, folder: Path) -> bool:
    """Whether a picture with this property is written so that others, and we, read it again."""
    name = images.format_of(Path(f"a.{ENDINGS[form]}"))
    if name is None or what in ("palette with transparency", "CMYK"):
        return False
    channels, dtype = SAMPLES.get(what, (3, "uint8"))
    pixels = samples(channels, dtype)
    options = {"height": HEIGHT, "width": WIDTH, "channels": channels, "dtype": dtype, "meta": FULL if what in BESIDE else images.Meta()}
    path = folder / f"{what}.{ENDINGS[form]}"
    try:
        notes = images.write_photo(path, name, iter([pixels[:7], pixels[7:]]), **options)
    except UserError:
        assert not path.exists()
        return False
    photo = images.read_photo(path)
    assert photo.format == name
    if what in BESIDE:
        kept = keeps(what, photo.meta)
        word = {"ICC profile": "the ICC profile", "resolution": "the resolution"}.get(what, what)
        assert kept != any(word in note for note in notes)
        return kept
    if what == "grey" and not images.FORMATS[name].grey:
        assert notes == (f"{name} knows no grey: written as RGB",)
        return False
    assert notes == ()
    near = NEAR.get(form, 0)
    assert photo.pixels.shape == pixels.shape
    assert np.abs(photo.pixels.astype(float) - pixels).max() <= near
    if dtype == "float32" or (form == "TIFF"):
        assert np.array_equal(tifffile.imread(path).reshape(pixels.shape), pixels)
    elif dtype == "uint16":
        import cv2

        assert np.array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1], pixels)
    else:
        with Image.open(path) as picture:
            assert np.abs(np.asarray(picture).reshape(pixels.shape).astype(int) - pixels).max() <= near
    return True


def table() -> dict[str, dict[str, str]]:
    text = PAGE.read_text(encoding="utf-8")
    section = text.split("\n## What a picture keeps", 1)[1].split("\n## ", 1)[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.MULTILINE)]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


PROPERTIES = (*SAMPLES, "palette with transparency", "CMYK", *BESIDE)


@pytest.mark.parametrize("what", PROPERTIES)
@pytest.mark.parametrize("form", ENDINGS)
def test_the_table_says_what_is_read_and_written(tmp_path, form, what):
    if what in BESIDE:
        try:
            read = "yes" if keeps(what, told(form, what)) else ""
        except (KeyError, TypeError, OSError):
            read = ""
    else:
        read = reads(form, what)
    written = writes(form, what, tmp_path)
    shown = (
        "refused"
        if read == "refused"
        else {(True, True): "kept", (True, False): "read", (False, True): "written"}.get((read == "yes", written), "–")
    )
    assert table()[form][what] == shown


def test_the_table_is_whole():
    assert list(table()) == list(ENDINGS)
    assert all(list(row) == list(PROPERTIES) for row in table().values())


# ---------------------------------------------------------------------------------------------------------------------- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WebP", "TIFF", "AVIF"])
def test_pictures_are_turned_upright_once(form, orientation):
    picture = pillow(samples(3))
    data = saved(form, picture, exif=exif_block(orientation).tobytes(), **({"dpi": (300, 200)} if form in ("JPEG", "PNG", "TIFF") else {}))
    photo = images.read_photo(data)
    ways = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
    expected = picture.transpose(Image.Transpose[ways[orientation]]) if orientation > 1 else picture
    assert photo.pixels.shape[:2] == expected.size[::-1]
    assert np.abs(photo.pixels.astype(int) - np.asarray(expected)).max() <= NEAR.get(form, 0) + (form == "AVIF")
    assert photo.meta.exif is not None
    assert exposure(photo.meta.exif)[1] in (1, None)
    if form in ("JPEG", "PNG", "TIFF"):
        assert photo.meta.dpi == pytest.approx((200, 300) if orientation >= 5 else (300, 200), rel=1e-3)


def test_an_orientation_in_xmp_alone_counts_and_is_reset():
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", (XMP % 6).decode())
    photo = images.read_photo(saved("PNG", pillow(samples(3)), pnginfo=info))
    assert photo.pixels.shape == (WIDTH, HEIGHT, 3)
    assert photo.meta.xmp == XMP % 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_block_keeps_everything_but_its_orientation_and_thumbnail(order):
    note = b"a maker's note with offsets of its own"
    letters, other = (b"II", "<") if order == "<" else (b"MM", ">")
    thumbnail = struct.pack(other + "H", 1) + struct.pack(other + "HHII", 0x0201, 4, 1, 8) + b"\0\0\0\0"
    first = struct.pack(other + "H", 2)
    first += struct.pack(other + "HHIH2x", 0x0112, 3, 1, 6)
    first += struct.pack(other + "HHII", 0x927C, 7, len(note), 38)
    block = letters + struct.pack(other + "HI", 42, 8) + first + struct.pack(other + "I", 38 + len(note)) + note + thumbnail
    found, said = blocks.upright(blocks.HEAD + block)
    assert said == 6
    body = found.removeprefix(blocks.HEAD)
    assert len(body) == len(block)
    assert body[38 : 38 + len(note)] == note
    again = blocks.parse(found)
    assert again[0x0112] == blocks.Entry(3, b"\1\0")
    assert again[0x927C] == blocks.Entry(7, note)
    assert blocks.upright(found) == (found, 1)


@pytest.mark.parametrize("big", [False, True])
def test_directories_are_written_as_they_are_read(big):
    inner: blocks.Directory = {0x829A: blocks.Entry(5, struct.pack("<II", 1, 250)), 0x9003: blocks.Entry(2, b"2026:01:02 03:04:05\0")}
    whole: blocks.Directory = {0x010F: blocks.Entry(2, b"odd\0"), 0x0128: blocks.Entry(3, b"\2\0"), blocks.EXIF: inner}
    data = b"#" * 30 + blocks.write_directory(whole, 30, big=big)
    found = blocks.read_directory(lambda at, length: data[at : at + length], 30, "<", big=big)
    assert found == whole


@pytest.mark.parametrize(
    "bad",
    [
        struct.pack("<HHII", 0x013B, 2, 40, 5000),  # an artist beyond the end
        struct.pack("<HHII", blocks.GPS, 4, 1, 5000),
        struct.pack("<HHII", blocks.EXIF, 4, 1, 8),  # the directory that it stands in
    ],
)
def test_one_damaged_value_costs_itself_alone(bad):
    entries = [struct.pack("<HHIHH", blocks.ORIENTATION, 3, 1, 6, 0), bad]
    block = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(sorted(entries)) + b"\0\0\0\0"
    photo = images.read_photo(saved("JPEG", pillow(samples(3)), exif=blocks.HEAD + block))
    assert photo.pixels.shape[:2] == samples(3).shape[1::-1], "turned upright"
    assert photo.meta.exif is not None
    assert blocks.parse(photo.meta.exif)[blocks.ORIENTATION] == blocks.Entry(3, b"\1\0")


def test_a_picture_is_turned_upright_also_where_its_exif_is_cut_short():
    block = b"II*\0" + struct.pack("<IH", 8, 9) + struct.pack("<HHIHH", blocks.ORIENTATION, 3, 1, 6, 0)
    photo = images.read_photo(saved("JPEG", pillow(samples(3)), exif=blocks.HEAD + block))
    assert photo.pixels.shape[:2] == samples(3).shape[1::-1]
    assert (photo.meta.exif, photo.notes) == (None, ("an EXIF block that cannot be parsed left out",))


@pytest.mark.parametrize("order", ["<", ">"])
def test_an_orientation_of_four_bytes_counts_too(order):
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIII", 8, 1, blocks.ORIENTATION, 4, 1, 6, 0)
    photo = images.read_photo(saved("JPEG", pillow(samples(3)), exif=blocks.HEAD + block))
    assert photo.pixels.shape[:2] == samples(3).shape[1::-1]
    assert photo.meta.exif is not None
    assert blocks.upright(photo.meta.exif)[1] == 1


def test_damaged_xmp_costs_itself_alone():
    data = saved("PNG", pillow(samples(3)))
    body = b"iTXt" + b"XML:com.adobe.xmp\0\1\0\0\0" + b"no stream of zlib's"
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    photo = images.read_photo(data[:33] + chunk + data[33:])
    assert np.array_equal(photo.pixels, images.read_photo(data).pixels)
    assert (photo.meta.xmp, photo.notes) == (None, ("damaged XMP left out",))


def test_iptc_that_is_not_kept_is_said():
    caption = b"\x1c\x02\x78\x00\x05hello"
    record = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(caption)) + caption
    data = saved("JPEG", pillow(samples(3)))
    with_iptc = data[:2] + b"\xff\xed" + struct.pack(">H", len(record) + 2) + record + data[2:]
    assert images.read_photo(data).notes == ()
    assert images.read_photo(with_iptc).notes == ("IPTC (caption, byline, rights) is not kept",)


@pytest.mark.parametrize(("points", "said"), [((1, 13), False), ((12, 13), True), ((9, 16), True)])
@pytest.mark.parametrize("bits", [8, 10])
def test_an_avif_of_other_colours_than_srgb_says_so(points, said, bits):
    pixels = samples(3) if bits == 8 else samples(3, "uint16") >> 6
    level = {"primaries": points[0], "transfer": points[1], "level": 90, "bitspersample": bits}
    notes = images.read_photo(imagecodecs.avif_encode(np.ascontiguousarray(pixels), **level)).notes
    assert any("code points of colour" in note for note in notes) == said


@pytest.mark.parametrize("data", [b"", b"II*\0\x08\0\0\0", b"II*\0\xff\xff\xff\xff\0\0", b"MM\0*\0\0\0\x08\xff\xff" + b"\0" * 100])
def test_damaged_blocks_are_left_out_and_that_is_said(data):
    photo = images.read_photo(saved("PNG", pillow(samples(3)), exif=b"Exif\0\0" + data))
    assert photo.meta.exif is None
    assert photo.notes in (("an EXIF block that cannot be parsed left out",), ())
    assert photo.notes or not data


# ---------------------------------------------------------------------------------------------------------------------- profiles


def test_grey_profiles_stay_with_grey_and_others_are_left_out():
    assert images.read_photo(saved("PNG", pillow(samples(1)), icc_profile=icc.grey())).meta.icc == icc.grey()
    photo = images.read_photo(saved("PNG", pillow(samples(1)), icc_profile=icc.wide()))
    assert photo.meta.icc is None
    assert photo.notes == ("an ICC profile for RGB does not belong to these samples and was left out",)
    photo = images.read_photo(saved("PNG", pillow(samples(3)), icc_profile=b"no profile" * 20))
    assert photo.meta.icc is None
    assert "nothing known" in photo.notes[0]


def test_the_hand_made_profiles_are_what_they_say():
    for data, mode in ((icc.wide(), "RGB"), (icc.grey(), "L"), (icc.inks(), "CMYK")):
        transform = ImageCms.buildTransform(io.BytesIO(data), ImageCms.createProfile("sRGB"), mode, "RGB")
        result = ImageCms.applyTransform(Image.new(mode, (1, 1), {"L": 100, "RGB": (0, 200, 0), "CMYK": (255, 0, 0, 0)}[mode]), transform)
        pixel = np.asarray(result)[0, 0].astype(int)
        if mode == "CMYK":
            assert pixel[0] > pixel[1] + 60  # the cyan ink is red


def test_cmyk_of_a_jpeg_without_adobe_s_marker_is_not_inverted():
    picture = Image.fromarray(np.ascontiguousarray(samples(4)), "CMYK")
    data = saved("JPEG", picture)
    start = data.index(b"\xff\xeeAdobe"[:2] + data[data.index(b"Adobe") - 2 : data.index(b"Adobe") + 5])
    length = int.from_bytes(data[start + 2 : start + 4], "big")
    plain = data[:start] + data[start + 2 + length :]
    with_marker, without = (images.read_photo(one).pixels.astype(int) for one in (data, plain))
    inverse = np.asarray(Image.fromarray(255 - np.ascontiguousarray(samples(4)), "CMYK").convert("RGB")).astype(int)
    assert np.abs(without - inverse).mean() < 3
    assert np.abs(without - with_marker).mean() > 20


# --------------------------------------------------------------------------------------------------------------------- odd samples


def test_one_transparent_colour_becomes_alpha_at_any_depth():
    pixels = samples(3)
    photo = images.read_photo(saved("PNG", pillow(pixels), transparency=tuple(int(v) for v in pixels[3, 4])))
    assert np.array_equal(photo.pixels[..., 3] == 0, (pixels == pixels[3, 4]).all(-1))
    grey = samples(1)
    photo = images.read_photo(saved("PNG", pillow(grey), transparency=int(grey[0, 8, 0])))
    assert photo.pixels.shape[2] == 2
    assert np.array_equal(photo.pixels[..., 1] == 0, grey[..., 0] == grey[0, 8, 0])
    deep = samples(3, "uint16")
    data = imagecodecs.png_encode(deep)
    clear = struct.pack(">3H", *(int(value) for value in deep[3, 4]))
    chunk = struct.pack(">I", 6) + b"tRNS" + clear + struct.pack(">I", zlib.crc32(b"tRNS" + clear))
    place = data.index(b"IDAT") - 4
    photo = images.read_photo(data[:place] + chunk + data[place:])
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels[..., 3] == 0, (deep == deep[3, 4]).all(-1))
    assert np.array_equal(photo.pixels[..., :3], deep)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_small_depths_are_stretched(bits):
    values = np.arange(WIDTH, dtype=np.uint8) % 2**bits
    rows = np.packbits(np.unpackbits(np.tile(values, (HEIGHT, 1))[..., None], axis=2)[..., 8 - bits :].reshape(HEIGHT, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0)), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    photo = images.read_photo(data)
    assert np.array_equal(photo.pixels[0, :, 0], values.astype(int) * 255 // (2**bits - 1))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WebP"])
def test_of_an_animation_the_first_frame_is_taken_and_that_is_said(form):
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "blue", "green")]
    buffer = io.BytesIO()
    frames[0].save(buffer, {"WebP": "WEBP"}.get(form, form), save_all=True, append_images=frames[1:], **LOSSLESS.get(form, {}))
    photo = images.read_photo(buffer.getvalue())
    assert (photo.pixels[..., :3] == (255, 0, 0)).all()
    assert photo.notes == ("first of 3 frames",)


def test_of_several_pages_the_first_is_taken_and_that_is_said():
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for level in (10, 20):
            writer.write(np.full((8, 9, 3), level, np.uint8), photometric="rgb")
    photo = images.read_photo(buffer.getvalue())
    assert (photo.pixels == 10).all()
    assert photo.notes == ("first of 2 pages",)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("big", [False, True])
def test_tiff_of_every_layout(compression, planar, big):
    pixels = samples(3, "uint16").transpose(2, 0, 1) if planar == "separate" else samples(3, "uint16")
    for order in "<>":
        data = tiff(pixels, photometric="rgb", compression=compression, planarconfig=planar, bigtiff=big, byteorder=order, tile=(16, 16))
        assert np.array_equal(images.read_photo(data).pixels, samples(3, "uint16"))


def test_tiff_where_zero_is_white_and_alpha_that_was_multiplied():
    assert np.array_equal(images.read_photo(tiff(samples(1), photometric="miniswhite")).pixels, 255 - samples(1))
    pixels = samples(4)
    multiplied = pixels.copy()
    multiplied[..., :3] = np.round(pixels[..., :3] * (pixels[..., 3:] / 255))
    photo = images.read_photo(tiff(multiplied, extrasamples=["assocalpha"]))
    assert np.abs(photo.pixels.astype(int) - pixels).max() <= 3
    assert photo.notes == ("premultiplied alpha divided out",)


def test_tiff_as_jpeg_and_with_a_palette():
    picture = pillow(samples(3))
    photo = images.read_photo(saved("TIFF", picture, compression="jpeg", quality=100))
    assert np.abs(photo.pixels.astype(int) - samples(3)).max() <= 12
    flat = picture.quantize(16)
    assert np.array_equal(images.read_photo(saved("TIFF", flat)).pixels, np.asarray(flat.convert("RGB")))


@pytest.mark.parametrize(
    ("pixels", "options", "words"),
    [
        (np.zeros((4, 5, 3), np.int16), {}, "16-bit signed samples are not read"),
        (np.zeros((4, 5, 3), np.uint32), {}, "32-bit unsigned samples are not read"),
        (np.zeros((4, 5, 1), np.complex64), {}, "complex samples are not read"),
        (np.zeros((4, 5, 3), np.uint8), {"photometric": "cielab"}, "colour space CIELAB is not read: convert it to RGB"),
        (np.full((4, 5, 3), np.nan, np.float32), {}, "no finite numbers"),
    ],
)
def test_tiff_that_has_no_place_is_refused(pixels, options, words):
    with pytest.raises(UserError, match=words) as error:
        images.read_photo(tiff(pixels, **options), name="a.tif")
    assert str(error.value).startswith("a.tif: ")


def test_turning_a_palette_tiff_turns_its_resolution():
    photo = images.read_photo(saved("TIFF", pillow(samples(3)).quantize(16), tiffinfo={274: 6}, dpi=(300, 200)))
    assert photo.pixels.shape == (WIDTH, HEIGHT, 3)
    assert photo.meta.dpi == pytest.approx((200, 300))


@pytest.mark.parametrize("before", [10, 70_000])
def test_depth_of_avif_is_found_wherever_its_boxes_lie(before):
    data = bytes(imagecodecs.avif_encode(samples(3, "uint16") >> 6, level=100, bitspersample=10, pixelformat="444"))
    start, place = int.from_bytes(data[:4], "big"), data.index(b"iloc")
    told = data[place - 4 : place - 4 + int.from_bytes(data[place - 4 : place], "big")]
    samples_at = data.index(b"mdat") + 4
    assert told.count(struct.pack(">I", samples_at)) == 1
    moved = told.replace(struct.pack(">I", samples_at), struct.pack(">I", samples_at + 8 + before))
    free = struct.pack(">I4s", 8 + before, b"free") + b"\0" * before
    photo = images.read_photo(data[:start] + free + data[start:].replace(told, moved))
    assert photo.pixels.dtype == np.uint16
    assert np.array_equal(photo.pixels, images.read_photo(data).pixels)


# ------------------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("form", ["png", "webp", "tiff"])
def test_colours_under_full_transparency_stay(tmp_path, form):
    pixels = samples(4)
    pixels[:, : WIDTH // 2, 3] = 0
    images.write_photo(tmp_path / "a", form, [pixels], height=HEIGHT, width=WIDTH, channels=4, dtype="uint8")
    assert np.array_equal(images.read_photo(tmp_path / "a").pixels, pixels)


@pytest.mark.parametrize("form", [name for name, form in images.FORMATS.items() if not form.grey])
def test_grey_written_as_colour_leaves_its_profile_out(tmp_path, form):
    options = {"height": HEIGHT, "width": WIDTH, "channels": 1, "dtype": "uint8", "meta": images.Meta(icc=icc.grey())}
    notes = images.write_photo(tmp_path / "a", form, [samples(1)], **options)
    assert notes == (f"{form} knows no grey: written as RGB, without its profile for grey",)
    with Image.open(tmp_path / "a") as picture:
        assert "icc_profile" not in picture.info


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiff_is_written_in_strips_of_any_height(tmp_path, monkeypatch, channels, dtype):
    monkeypatch.setattr("wildsr.images.writing._STRIP_BYTES", 2000)
    pixels = samples(channels, dtype)
    for cuts in ((), (1, 2, 3, 20), range(1, HEIGHT)):
        strips = np.split(pixels, cuts)
        images.write_photo(tmp_path / "a.tif", "tiff", strips, height=HEIGHT, width=WIDTH, channels=channels, dtype=dtype)
        assert np.array_equal(tifffile.imread(tmp_path / "a.tif").reshape(pixels.shape), pixels)
        assert np.array_equal(images.read_photo(tmp_path / "a.tif").pixels, pixels)


def test_large_tiff_is_bigtiff_and_keeps_all(tmp_path, monkeypatch):
    monkeypatch.setattr("wildsr.images.writing._CLASSIC_BYTES", 100)
    images.write_photo(tmp_path / "a.tif", "tiff", [samples(3)], height=HEIGHT, width=WIDTH, channels=3, dtype="uint8", meta=FULL)
    with tifffile.TiffFile(tmp_path / "a.tif") as found:
        assert found.is_bigtiff
        assert found.pages.first.tags["ExifTag"].value["ExposureTime"] == pytest.approx(1 / 250)
    photo = images.read_photo(tmp_path / "a.tif")
    assert np.array_equal(photo.pixels, samples(3))
    assert all(keeps(name, photo.meta) for name in BESIDE)


def test_16_bit_png_keeps_all(tmp_path):
    images.write_photo(tmp_path / "a.png", "png", [samples(3, "uint16")], height=HEIGHT, width=WIDTH, channels=3, dtype="uint16", meta=FULL)
    with Image.open(tmp_path / "a.png") as picture:
        picture.load()
        assert picture.info["icc_profile"] == icc.wide()
        assert picture.info["dpi"] == pytest.approx((300, 200), rel=1e-3)
        assert picture.info["XML:com.adobe.xmp"] == (XMP % 1).decode()
        assert exposure(picture.info["exif"]) == EXPOSURE
    assert all(keeps(name, images.read_photo(tmp_path / "a.png").meta) for name in BESIDE)


@pytest.mark.parametrize("form", images.FORMATS)
def test_an_open_file_gets_the_same_bytes(tmp_path, form):
    options = {"height": HEIGHT, "width": WIDTH, "channels": 3, "dtype": "uint8"}
    images.write_photo(tmp_path / "a", form, [samples(3)], **options)
    buffer = io.BytesIO()
    images.write_photo(buffer, form, [samples(3)], **options)
    assert buffer.getvalue() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("form", images.FORMATS)
@pytest.mark.parametrize("strips", [[samples(3)[:-1]], [samples(3), samples(3)], [samples(4)], []])
def test_half_a_picture_leaves_no_file(tmp_path, form, strips):
    with pytest.raises(ValueError, match="rows"):
        images.write_photo(tmp_path / "a.x", form, strips, height=HEIGHT, width=WIDTH, channels=3, dtype="uint8")
    assert not list(tmp_path.iterdir())


def test_an_error_while_strips_come_leaves_no_file(tmp_path):
    def strips():
        yield samples(3)[:5]
        raise UserError("no more")

    for form in images.FORMATS:
        with pytest.raises(UserError, match="no more"):
            images.write_photo(tmp_path / "a.x", form, strips(), height=HEIGHT, width=WIDTH, channels=3, dtype="uint8")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "size", "words"),
    [
        (
            "webp",
            (10, 17_000, 3, "uint8"),
            "webp holds at most 16,383 pixels a side, the result has 17,000: use --format png or jpeg or tiff",
        ),
        ("jpeg", (10, 20, 4, "uint8"), "jpeg holds no transparency: use --format png or webp or tiff"),
        ("jpeg", (10, 20, 3, "uint16"), "jpeg holds no 16 bit samples: use --format png or tiff"),
        ("png", (10, 20, 1, "float32"), "png holds no float samples: use --format tiff"),
        ("bmp", (10, 20, 2, "uint8"), "bmp holds no transparency"),
    ],
)
def test_what_a_format_cannot_hold_names_those_that_can(form, size, words):
    with pytest.raises(UserError, match=words):
        images.require_writable(form, **dict(zip(("height", "width", "channels", "dtype"), size, strict=True)))


def test_quality_counts(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for form in ("jpeg", "webp", "avif"):
        if form not in images.FORMATS:
            continue
        sizes = []
        for quality in (20, 90):
            images.write_photo(tmp_path / "a", form, [noise], height=64, width=64, channels=3, dtype="uint8", quality=quality)
            sizes.append((tmp_path / "a").stat().st_size)
        assert sizes[0] < 0.7 * sizes[1]
    images.write_photo(tmp_path / "a", "webp", [noise], height=64, width=64, channels=3, dtype="uint8")
    assert np.array_equal(images.read_photo(tmp_path / "a").pixels, noise)


def test_what_is_too_long_for_jpeg_is_left_out_and_said(tmp_path):
    meta = images.Meta(xmp=XMP % 1 + b" " * 70_000)
    notes = images.write_photo(tmp_path / "a.jpg", "jpeg", [samples(3)], height=HEIGHT, width=WIDTH, channels=3, dtype="uint8", meta=meta)
    assert notes == (f"jpeg has no room for {len(meta.xmp or b''):,} bytes of XMP",)


# ----------------------------------------------------------------------------------------------------------------------- bad input


def bad() -> dict[str, tuple[bytes, str | None]]:
    png, deep = saved("PNG", pillow(samples(3))), imagecodecs.png_encode(samples(3, "uint16"))
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 30_000, 30_000, 16, 2, 0, 0, 0)
    bomb += struct.pack(">I", zlib.crc32(bomb[12:29])) + struct.pack(">I4s", 0, b"IDAT") + struct.pack(">I", zlib.crc32(b"IDAT"))
    halves = {f"half.{ENDINGS[form]}": saved(form, pillow(samples(3))) for form in ("JPEG", "WebP", "TIFF", "BMP", "AVIF", "HEIC", "TGA")}
    return {
        "empty.png": (b"", "empty"),
        "text.jpg": (b"no picture", "not a picture"),
        "half.png": (png[: len(png) // 2], "damaged"),
        "half-deep.png": (deep[: len(deep) // 2], "damaged"),
        "half-deep.tif": (tiff(samples(3, "uint16"))[:-200], "damaged"),
        "bomb.png": (bomb, "more than the bound"),
        "bomb.tif": (
            tiff(np.zeros((3, 4, 1), np.uint8)).replace(struct.pack("<HHII", 256, 4, 1, 4), struct.pack("<HHII", 256, 4, 1, 2**31)),
            None,
        ),
        **{name: (data[: len(data) // 2], None) for name, data in halves.items()},
    }


@pytest.mark.parametrize("name", bad())
def test_bad_files_are_one_line_that_names_them(tmp_path, name):
    data, words = bad()[name]
    (tmp_path / name).write_bytes(data)
    for source, called in ((tmp_path / name, str(tmp_path / name)), (data, "standard input")):
        with pytest.raises(UserError, match=words) as error:
            images.read_photo(source)
        assert str(error.value).startswith(f"{called}: ")
        assert "\n" not in str(error.value)


def test_half_an_avif_is_damaged(tmp_path):
    data = saved("AVIF", pillow(samples(3)))
    with pytest.raises(UserError, match="the picture is damaged"):
        images.read_photo(data[: len(data) // 2])


@pytest.mark.parametrize("form", ["BMP", "GIF", "JPEG 2000"])
def test_a_damaged_profile_hurts_nothing(form):
    data = with_profile(form)
    place = data.index(icc.wide()[:60])
    photo = images.read_photo(data[:place] + b"\xff" * 60 + data[place + 60 :])
    assert photo.pixels.shape[:2] == (HEIGHT, WIDTH)
    assert photo.meta.icc is None


def test_a_quality_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="quality = 0: use 1 to 100"):
        images.write_photo(tmp_path / "a.jpg", "jpeg", [samples(3)], height=HEIGHT, width=WIDTH, channels=3, dtype="uint8", quality=0)


def test_a_folder_and_a_missing_file(tmp_path):
    for path, words in ((tmp_path, "is not a file"), (tmp_path / "no.png", "no such file")):
        with pytest.raises(UserError, match=words):
            images.read_photo(path)


def test_an_ending_does_not_matter(tmp_path):
    (tmp_path / "a.jpg").write_bytes(saved("PNG", pillow(samples(3))))
    assert images.read_photo(tmp_path / "a.jpg").format == "png"


@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG"])
def test_the_bound_on_pixels_is_read_from_the_header(form):
    with pytest.raises(UserError, match=f"{WIDTH}×{HEIGHT} is {WIDTH * HEIGHT} pixels, more than the bound of 100"):
        images.read_photo(saved(form, pillow(samples(3))), max_pixels=100)


def test_heic_without_its_extra_names_it(monkeypatch):
    data = saved("HEIC", pillow(samples(3)))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UserError, match=r"pip install 'wildsr\[heif\]'"):
        images.read_photo(data)


def test_a_compressed_text_that_would_fill_the_memory_is_left_alone():
    huge = zlib.compress(b"\0" * (200 << 20))
    body = b"XML:com.adobe.xmp\0\1\0\0\0" + huge
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body + struct.pack(">I", zlib.crc32(b"iTXt" + body))
    data = imagecodecs.png_encode(samples(3, "uint16"))
    place = data.index(b"IDAT") - 4
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(UserError):
        assert len(images.read_photo(data[:place] + chunk + data[place:]).meta.xmp or b"") <= 64 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 190 << 10


def test_a_drawing_of_one_bit_is_grey():
    picture = Image.new("1", (20, 10))
    ImageDraw.Draw(picture).line((0, 0, 19, 9), 1)
    photo = images.read_photo(saved("PNG", picture))
    assert photo.pixels.shape == (10, 20, 1)
    assert set(np.unique(photo.pixels)) == {0, 255}
