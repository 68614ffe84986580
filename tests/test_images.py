"""Pictures: every kind of file that comes along, the conversions, and files that appear whole or not at all."""

import hashlib
import os
import random
import struct
import threading
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import slow_twins
import torch
from PIL import Image, ImageFile, ImageOps
from skimage.color import rgb2ycbcr

from wildsr import images
from wildsr.errors import UserError


def pixels(height: int = 6, width: int = 8, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def deep(height: int = 6, width: int = 8, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (height, width, channels), dtype=np.uint16).squeeze()


def hand_made_png(width: int, height: int, *, depth: int = 8, colour: int = 2, data: bytes = b"") -> bytes:
    """A PNG file whose header promises what `data` (the rows with their filter bytes) need not keep."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------------------------------------ what is refused


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"absent\.png: no such file"):
        images.open_picture(tmp_path / "absent.png")
    with pytest.raises(UserError, match="is not a file"):
        images.open_picture(tmp_path)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"empty\.png: the file is empty \(0 bytes\)"):
        images.open_picture(tmp_path / "empty.png")


@pytest.mark.parametrize("content", [b"hello, I am no picture\n", b"\x89PNG", b"\xff\xd8", b"\0" * 1000])
def test_what_is_no_picture_is_refused(tmp_path, content):
    (tmp_path / "text.png").write_bytes(content)
    with pytest.raises(UserError, match=r"text\.png: not a picture"):
        images.open_picture(tmp_path / "text.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tif", ".webp", ".ppm"])
def test_a_truncated_picture_is_refused(tmp_path, suffix):
    path = tmp_path / f"torn{suffix}"
    Image.fromarray(pixels(60, 60)).save(path)
    images.open_picture(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=rf"torn\{suffix}: (the picture is damaged|not a picture)"):
        images.open_picture(path)


def test_a_header_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    (tmp_path / "bomb.png").write_bytes(hand_made_png(30_000, 30_000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("the pixels were asked for"))
    with pytest.raises(UserError, match=r"bomb\.png: 30000×30000 is 900,000,000 pixels, more than the bound of 178,956,970.*--max-pixels"):
        images.open_picture(tmp_path / "bomb.png")


def test_a_raised_bound_lets_a_header_bomb_through_to_the_next_error(tmp_path, monkeypatch):
    def stop(self):
        raise OSError("no pixels here")

    (tmp_path / "bomb.png").write_bytes(hand_made_png(30_000, 30_000))
    monkeypatch.setattr(ImageFile.ImageFile, "load", stop)
    # Pillow's own bound, which refuses at twice its size, must not stand in the way.
    with pytest.raises(UserError, match=r"bomb\.png: the picture is damaged \(no pixels here\)"):
        images.open_picture(tmp_path / "bomb.png", max_pixels=900_000_000)


def test_a_lack_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    def load(self):
        raise MemoryError

    Image.fromarray(pixels()).save(tmp_path / "huge.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises((MemoryError, UserError)) as caught:
        images.open_picture(tmp_path / "huge.png")
    assert "damaged" not in str(caught.value)


def test_the_bound_is_the_largest_size_that_is_read(tmp_path):
    (tmp_path / "wide.png").write_bytes(hand_made_png(3000, 2000, data=b"\0"))
    with pytest.raises(UserError, match="3000×2000 is 6,000,000 pixels, more than the bound of 5,999,999"):
        images.open_picture(tmp_path / "wide.png", max_pixels=5_999_999)
    with pytest.raises(UserError, match="the picture is damaged"):
        images.open_picture(tmp_path / "wide.png", max_pixels=6_000_000)
    Image.fromarray(pixels(6, 8)).save(tmp_path / "small.png")
    assert images.open_picture(tmp_path / "small.png", max_pixels=48).size == (8, 6)


def test_pillow_s_own_bound_is_left_as_it_was(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"bad")
    before = Image.MAX_IMAGE_PIXELS
    images.open_picture(tmp_path / "good.png")
    with pytest.raises(UserError):
        images.open_picture(tmp_path / "bad.png")
    assert before is not None
    assert before == Image.MAX_IMAGE_PIXELS


def test_reading_in_two_threads_leaves_pillow_s_bound_and_the_warnings_as_they_were(tmp_path, monkeypatch):
    for name in ("first.png", "second.png"):
        Image.new("RGB", (8 if name == "first.png" else 9, 8)).save(tmp_path / name)
    # The first is done before the second, which began while the first was still at work.
    first_began, second_began, first_done = threading.Event(), threading.Event(), threading.Event()
    transpose = ImageOps.exif_transpose

    def slowly(picture):
        if picture.width == 8:
            first_began.set()
            second_began.wait(5)
        else:
            second_began.set()
            first_done.wait(5)
        return transpose(picture)

    monkeypatch.setattr(ImageOps, "exif_transpose", slowly)
    bound, filters = Image.MAX_IMAGE_PIXELS, list(warnings.filters)
    try:
        threads = [threading.Thread(target=images.open_picture, args=(tmp_path / name,)) for name in ("first.png", "second.png")]
        threads[0].start()
        first_began.wait(5)
        threads[1].start()
        threads[0].join()
        first_done.set()
        threads[1].join()
        assert bound == Image.MAX_IMAGE_PIXELS
        assert filters == list(warnings.filters)
    finally:
        Image.MAX_IMAGE_PIXELS = bound
        warnings.filters[:] = filters


@pytest.mark.parametrize(
    ("name", "channels"),
    [("grey.png", 1), ("colour.png", 3), ("transparent.png", 4), ("grey.tif", 1), ("colour.tif", 3), ("grey.pgm", 1), ("colour.ppm", 3)],
)
def test_16_bits_a_channel_are_refused(tmp_path, name, channels):
    assert cv2.imwrite(str(tmp_path / name), deep(channels=channels))
    with pytest.raises(UserError, match=f"{name}: 16 bits a channel are not supported yet"):
        images.open_picture(tmp_path / name)


def test_16_bits_written_by_hand_are_refused(tmp_path):
    rows = b"".join(b"\0" + line.astype(">u2").tobytes() for line in deep().reshape(6, 24))
    (tmp_path / "deep.png").write_bytes(hand_made_png(8, 6, depth=16, data=rows))
    with Image.open(tmp_path / "deep.png") as picture:
        assert picture.mode == "RGB"  # Pillow reads it as 8 bits without a word.
    with pytest.raises(UserError, match="16 bits a channel"):
        images.open_picture(tmp_path / "deep.png")


@pytest.mark.parametrize(("mode", "name"), [("CMYK", "print.jpg"), ("F", "float.tif"), ("LAB", "lab.tif")])
def test_other_colour_modes_are_refused(tmp_path, mode, name):
    Image.new(mode, (8, 6)).save(tmp_path / name)
    with pytest.raises(UserError, match=f"{name}: colour mode {mode} is not supported: convert it to RGB"):
        images.open_picture(tmp_path / name)


def test_tiff_in_ycbcr_is_refused(tmp_path):
    """Older versions of Pillow write it so that they cannot read it themselves."""
    Image.new("YCbCr", (8, 6)).save(tmp_path / "video.tif")
    with pytest.raises(UserError, match=r"video\.tif: (colour mode YCbCr is not supported: convert it to RGB|.*truncated)"):
        images.open_picture(tmp_path / "video.tif")


@pytest.mark.parametrize("name", ["moving.gif", "moving.png", "moving.webp"])
def test_animations_are_refused(tmp_path, name):
    frames = [Image.fromarray(pixels(seed=seed)) for seed in range(3)]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.raises(UserError, match=f"{name}: an animation of 3 frames"):
        images.open_picture(tmp_path / name)
    frames[0].save(tmp_path / name)
    assert images.open_picture(tmp_path / name).mode == "RGB"


def test_several_pages_are_refused_and_one_is_not(tmp_path):
    page = Image.fromarray(pixels())
    page.save(tmp_path / "book.tif", save_all=True, append_images=[page])
    with pytest.raises(UserError, match=r"book\.tif: 2 pages"):
        images.open_picture(tmp_path / "book.tif")
    page.save(tmp_path / "page.tif")
    assert np.array_equal(np.asarray(images.open_picture(tmp_path / "page.tif")), pixels())


# ---------------------------------------------------------------------------------------------------- what is damaged in odd places


def opened(path: Path) -> Image.Image | None:
    """The picture, or None when it is refused by name; anything else is an error."""
    try:
        return images.open_picture(path, max_pixels=100_000)
    except UserError as error:
        return None if str(path) in str(error) else pytest.fail(str(error))


@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"Exif\0\0MM\0*\0\0", b"Exif\0\0nonsense", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_damaged_exif_does_not_end_in_a_traceback(tmp_path, exif, suffix):
    path = tmp_path / f"odd{suffix}"
    Image.fromarray(pixels()).save(path, exif=exif)
    picture = opened(path)
    assert picture is None or picture.size == (8, 6)


def test_a_tiff_without_a_width_does_not_end_in_a_traceback(tmp_path):
    path = tmp_path / "no_width.tif"
    Image.fromarray(pixels()).save(path)
    # ImageWidth, a short or a long of one value, becomes a private tag.
    content = path.read_bytes()
    at = next(at for at in (content.find(struct.pack("<HHI", 256, kind, 1)) for kind in (3, 4)) if at >= 0)
    path.write_bytes(content[:at] + struct.pack("<H", 65_000) + content[at + 2 :])
    with pytest.raises(UserError, match=r"no_width\.tif"):
        images.open_picture(path)


def too_long(content: bytes) -> bytes:
    """A TIFF file whose ImageLength has nine values too many: it is still read, with a warning."""
    at = next(at for at in (content.find(struct.pack("<HHI", 257, kind, 1)) for kind in (3, 4)) if at >= 0)
    kind = struct.unpack_from("<H", content, at + 2)[0]
    return content[:at] + struct.pack("<HHI", 257, kind, 10) + content[at + 8 :]


def torn_second_page(content: bytes) -> bytes:
    """A TIFF file with a second page whose one entry points beyond the end: counting the pages warns."""
    directory = struct.unpack_from("<I", content, 4)[0]
    following = directory + 2 + 12 * struct.unpack_from("<H", content, directory)[0]
    page = struct.pack("<HHHIII", 1, 270, 2, 1000, len(content), 0)
    return content[:following] + struct.pack("<I", len(content)) + content[following + 4 :] + page


@pytest.mark.parametrize("damage", [too_long, torn_second_page])
def test_pillow_s_warnings_do_not_reach_the_user(tmp_path, damage):
    path = tmp_path / "odd.tif"
    Image.fromarray(pixels()).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        opened(path)
    assert [str(warning.message) for warning in caught] == []


SEEDS = ("a.png", "a.jpg", "a.gif", "a.bmp", "a.tif", "a.webp", "a.ppm")


@pytest.mark.parametrize("name", SEEDS)
def test_files_with_a_few_wrong_bytes_are_read_or_refused_by_name(tmp_path, name):
    path = tmp_path / name
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    Image.fromarray(pixels(20, 24)).save(path, **({"exif": exif} if name in ("a.png", "a.jpg", "a.webp") else {}))
    good, chance = path.read_bytes(), random.Random(0)
    refused = 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(250):
            content = bytearray(good)
            for _ in range(chance.choice([1, 2, 10])):
                content[chance.randrange(min(len(content), chance.choice([60, 200, len(content)])))] = chance.randrange(256)
            path.write_bytes(content)
            picture = opened(path)
            refused += picture is None
            assert picture is None or picture.mode in ("L", "LA", "RGB", "RGBA")
    assert {str(warning.message) for warning in caught} == set()
    assert refused > 10


# --------------------------------------------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_four_modes_are_read_as_they_are(tmp_path, mode, channels, suffix):
    path = tmp_path / f"picture{suffix}"
    Image.fromarray(pixels(channels=channels)).save(path)
    picture = images.open_picture(path)
    assert picture.mode == mode
    assert np.array_equal(np.asarray(picture), pixels(channels=channels))


def palette_picture() -> Image.Image:
    picture = Image.new("P", (3, 2))
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.putdata([0, 1, 2, 2, 1, 0])
    return picture


PALETTE_COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[0, 0, 255], [0, 255, 0], [255, 0, 0]]], dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".tif"])
def test_a_palette_becomes_rgb(tmp_path, suffix):
    palette_picture().save(tmp_path / f"palette{suffix}")
    picture = images.open_picture(tmp_path / f"palette{suffix}")
    assert picture.mode == "RGB"
    assert np.array_equal(np.asarray(picture), PALETTE_COLOURS)


@pytest.mark.parametrize(
    ("name", "transparency", "alphas"),
    [("a.png", 1, (255, 0, 255)), ("a.gif", 1, (255, 0, 255)), ("b.png", b"\x80\x00\xff", (128, 0, 255))],
)
def test_a_palette_with_transparency_becomes_rgba(tmp_path, name, transparency, alphas):
    palette_picture().save(tmp_path / name, transparency=transparency)
    picture = images.open_picture(tmp_path / name)
    assert picture.mode == "RGBA"
    assert np.array_equal(np.asarray(picture)[..., :3], PALETTE_COLOURS)
    assert np.asarray(picture)[..., 3].tolist() == [list(alphas), list(alphas)[::-1]]


def test_a_transparent_colour_becomes_an_alpha_channel(tmp_path):
    colour = np.zeros((2, 2, 3), np.uint8)
    colour[0, 1] = 10, 20, 30
    Image.fromarray(colour).save(tmp_path / "colour.png", transparency=(10, 20, 30))
    picture = images.open_picture(tmp_path / "colour.png")
    assert picture.mode == "RGBA"
    assert np.asarray(picture)[..., 3].tolist() == [[255, 0], [255, 255]]
    Image.fromarray(colour[..., 0]).save(tmp_path / "grey.png", transparency=10)
    picture = images.open_picture(tmp_path / "grey.png")
    assert picture.mode == "LA"
    assert np.asarray(picture)[..., 1].tolist() == [[255, 0], [255, 255]]


def bilevel() -> Image.Image:
    return Image.fromarray(np.array([[0, 255, 0], [255, 255, 0]], np.uint8)).convert("1")


def test_black_and_white_becomes_grey(tmp_path):
    bilevel().save(tmp_path / "fax.png")
    picture = images.open_picture(tmp_path / "fax.png")
    assert picture.mode == "L"
    assert np.asarray(picture).tolist() == [[0, 255, 0], [255, 255, 0]]


def test_black_and_white_with_a_transparent_colour_keeps_its_transparency(tmp_path):
    bilevel().save(tmp_path / "stamp.png", transparency=0)
    picture = images.open_picture(tmp_path / "stamp.png")
    assert picture.mode == "LA"
    assert np.asarray(picture)[..., 1].tolist() == [[0, 255, 0], [255, 255, 0]]


UPRIGHT = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_pictures_are_turned_upright_as_their_exif_says(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    how = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(pixels(5, 9)).save(tmp_path / f"turned{suffix}", exif=exif, **how)
    picture = images.open_picture(tmp_path / f"turned{suffix}")
    assert np.array_equal(np.asarray(picture), UPRIGHT[orientation](pixels(5, 9)))
    assert picture.getexif().get(0x0112, 1) == 1


def test_a_photograph_s_jpeg_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels(16, 24)).save(tmp_path / "phone.jpg", exif=exif)
    with Image.open(tmp_path / "phone.jpg") as stored:
        expected = np.rot90(np.asarray(stored), -1)
    assert np.array_equal(images.read(tmp_path / "phone.jpg").permute(1, 2, 0).numpy(), expected)


def test_a_single_pixel_is_a_picture(tmp_path):
    Image.new("RGB", (1, 1), (1, 2, 3)).save(tmp_path / "dot.png")
    assert images.read(tmp_path / "dot.png").flatten().tolist() == [1, 2, 3]


def test_read_gives_rgb_of_every_mode(tmp_path):
    Image.fromarray(pixels(channels=4)).save(tmp_path / "rgba.png")
    picture = images.read(tmp_path / "rgba.png")
    assert picture.dtype == torch.uint8
    assert picture.is_contiguous()
    assert np.array_equal(picture.numpy(), pixels(channels=4)[..., :3].transpose(2, 0, 1))
    Image.fromarray(pixels(channels=1)).save(tmp_path / "grey.png")
    assert np.array_equal(images.read(tmp_path / "grey.png").numpy(), np.stack([pixels(channels=1)] * 3))


def test_a_picture_that_was_read_can_be_written_to(tmp_path):
    Image.fromarray(pixels()).save(tmp_path / "picture.png")
    picture = images.read(tmp_path / "picture.png")
    picture += 1  # No warning about memory that is not writable.
    assert np.array_equal(images.read(tmp_path / "picture.png").permute(1, 2, 0).numpy(), pixels())


# ------------------------------------------------------------------------------------------------------------------- conversions


def test_all_256_levels_survive_float():
    levels = torch.arange(256, dtype=torch.uint8).repeat(3, 2, 1)
    floats = images.to_float(levels)
    assert floats.dtype == torch.float32
    assert floats.min() == 0
    assert floats.max() == 1
    assert torch.equal(images.to_uint8(floats), levels)


def test_floats_are_rounded_half_to_even():
    halves = np.arange(255, dtype=np.float32) + np.float32(0.5)
    # Those halves that come out of the division and the multiplication as they went in.
    floats = halves / np.float32(255)
    exact = floats * np.float32(255) == halves
    assert exact.sum() > 100
    rounded = images.to_uint8(torch.from_numpy(floats)[None, None]).flatten().numpy()
    levels = np.arange(255)
    assert np.array_equal(rounded[exact], (levels + levels % 2)[exact])
    assert images.to_uint8(torch.tensor([0.5])).item() == 128


def test_floats_outside_of_the_range_are_clamped():
    assert images.to_uint8(torch.tensor([-0.2, -1e-9, 0.0, 1.0, 1.0001, 7.0])).tolist() == [0, 0, 0, 255, 255, 255]
    assert images.to_uint8(torch.tensor([0.5, 2.0], dtype=torch.float16)).tolist() == [128, 255]


@pytest.mark.parametrize(
    ("rgb", "luma"),
    [
        ((255, 255, 255), 235),
        ((0, 0, 0), 16),
        ((255, 0, 0), 81.481),
        ((0, 255, 0), 144.553),
        ((0, 0, 255), 40.966),
        ((128, 128, 128), 125.929),
    ],
)
def test_luma_of_known_colours(rgb, luma):
    picture = torch.tensor(rgb, dtype=torch.float64).view(3, 1, 1)
    assert images.to_y(picture).item() == pytest.approx(luma, abs=1e-3)


def test_luma_equals_scikit_image_and_takes_batches():
    batch = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (2, 3, 4, 5)))
    expected = rgb2ycbcr(batch.permute(0, 2, 3, 1).numpy() / 255)[..., 0]
    np.testing.assert_allclose(images.to_y(batch).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(("height", "width", "multiple", "expected"), [(25, 36, 12, (24, 36)), (11, 30, 12, (0, 24)), (7, 9, 1, (7, 9))])
def test_sides_are_cut_to_multiples_at_right_and_bottom(height, width, multiple, expected):
    picture = slow_twins.noise_picture(height, width)
    cut = images.crop_to_multiple(picture, multiple)
    assert cut.shape[-2:] == expected
    assert torch.equal(cut, picture[:, : expected[0], : expected[1]])


def test_pillow_there_and_back():
    picture = slow_twins.noise_picture(5, 7)
    assert images.to_pillow(picture).size == (7, 5)
    assert torch.equal(images.from_pillow(images.to_pillow(picture)), picture)


def test_the_hash_of_pixels_is_that_of_their_bytes_row_by_row():
    picture = slow_twins.noise_picture(5, 7)
    # One row of three pixels, whose nine bytes are 0 … 8.
    counted = torch.arange(9, dtype=torch.uint8).view(1, 3, 3).permute(2, 0, 1)
    assert images.pixels_sha256(counted) == hashlib.sha256(bytes(range(9))).hexdigest()
    assert images.pixels_sha256(picture) == images.pixels_sha256(picture.clone())


def test_the_hash_of_pixels_tells_values_places_and_channels_apart():
    picture = slow_twins.noise_picture(5, 7)
    one_more = picture.clone()
    one_more[2, 4, 6] ^= 1
    others = [one_more, picture.flip(0), picture.flip(1), picture.flip(2), picture.roll(1, 2), picture[:, :4], picture.transpose(1, 2)]
    assert len({images.pixels_sha256(other) for other in [picture, *others]}) == len(others) + 1


# ----------------------------------------------------------------------------------------------------------------- folders and files


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_find_lists_pictures_in_the_order_of_their_paths(tmp_path):
    touch(tmp_path, "b.png", "a.JPG", "Z.webp", "a/inner.tiff", "a.b/x.bmp", "notes.txt", "c.png.part", "noending")
    touch(tmp_path, ".hidden.png", ".cache/thumb.png", "a/.hidden/deep.png", "a/._b.png")
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in images.find(tmp_path)]
    assert found == sorted(["b.png", "a.JPG", "Z.webp", "a/inner.tiff", "a.b/x.bmp"])


def test_find_knows_every_ending(tmp_path):
    touch(tmp_path, *(f"picture{suffix}" for suffix in images.SUFFIXES))
    assert {path.suffix for path in images.find(tmp_path)} == images.SUFFIXES


def test_find_works_below_a_hidden_folder(tmp_path):
    touch(tmp_path, ".data/a.png")
    assert [path.name for path in images.find(tmp_path / ".data")] == ["a.png"]


def test_find_refuses_what_holds_no_picture(tmp_path):
    with pytest.raises(UserError, match="absent: no such folder"):
        images.find(tmp_path / "absent")
    touch(tmp_path, "empty/notes.txt", "empty/.hidden.png", "file.png")
    with pytest.raises(UserError, match=r"empty: holds no picture \(\.avif, .*\.webp\)"):
        images.find(tmp_path / "empty")
    with pytest.raises(UserError, match=r"file\.png: is a file; name a folder"):
        images.find(tmp_path / "file.png")


def test_stems_must_be_unique():
    paths = [Path("x/a.png"), Path("x/b.png"), Path("y/c.jpg")]
    assert images.unique_stems(paths) == {"a": paths[0], "b": paths[1], "c": paths[2]}
    with pytest.raises(UserError, match=r"x/a\.png and y/a\.jpg would both be written as 'a'"):
        images.unique_stems([*paths, Path("y/a.jpg")])


def test_write_gives_the_bytes_of_a_png_and_equal_pictures_give_equal_bytes(tmp_path):
    picture = slow_twins.noise_picture(9, 11)
    data = images.write(tmp_path / "new" / "folder" / "a.png", picture)
    assert data == (tmp_path / "new" / "folder" / "a.png").read_bytes() == images.png(images.to_pillow(picture.clone()))
    assert torch.equal(images.read(tmp_path / "new" / "folder" / "a.png"), picture)
    assert data != images.write(tmp_path / "b.png", 255 - picture)


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_file_that_cannot_be_finished_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch, function):
    path = tmp_path / "a.png"
    images.write(path, slow_twins.noise_picture(5, 5))
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match=r"No space left on device.*a\.png"):
        images.write(path, slow_twins.noise_picture(6, 6))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="No space left"):
        images.write(tmp_path / "new.png", slow_twins.noise_picture(6, 6))
    assert list(tmp_path.iterdir()) == [path]
