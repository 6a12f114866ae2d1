"""Odd files, one by one: profiles, depths, transparency, broken metadata, damage."""

import io
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import skimage.data
from PIL import Image, ImageCms, features
from skimage.color import rgb2lab

from colorbench.data.image_decoding import UnreadableImage, decode_bytes, is_gray

IMAGE = np.ascontiguousarray(skimage.data.astronaut()[:120, 100:260])  # (120, 160, 3)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# --- profiles

# The colorants of two ICC profiles, adapted to D50 (columns R, G, B): Apple's Display P3 and the ICC's sRGB.
P3_TO_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
SRGB_TO_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
LINEAR = b"curv" + bytes(8)
SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH5i", 3, 0, *(round(v * 65536) for v in
    (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))  # fmt: skip


def profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile (version 4.2) of a display."""

    def xyz(values: object) -> bytes:
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(v) * 65536) for v in values))

    def text(message: str) -> bytes:
        return (
            b"mluc"
            + bytes(4)
            + struct.pack(">II4sII", 1, 12, b"enUS", 2 * len(message), 28)
            + message.encode("utf-16-be")
        )

    tags = {b"desc": text("a test"), b"cprt": text("none"), b"wtpt": xyz((0.9642, 1, 0.8249)), **tags}
    for name, value in tags.items():
        if isinstance(value, np.ndarray):
            tags[name] = xyz(value)
    table, body, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(">I4sI4s4s4s12x4s", start + len(body), bytes(4), 0x04200000, b"mntr", space, b"XYZ ", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1, 0.8249)))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def matrix_profile(to_xyz: np.ndarray, curve: bytes) -> bytes:
    colorants = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz.T, strict=True))
    return profile(b"RGB ", {**colorants, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def to_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def from_linear(v: np.ndarray) -> np.ndarray:
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 0.0031308) ** (1 / 2.4) - 0.055)


def difference(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_display_p3_becomes_srgb(format: str) -> None:
    content = encoded(Image.fromarray(IMAGE), format, icc_profile=matrix_profile(P3_TO_XYZ, SRGB_CURVE))
    stored = np.asarray(Image.open(io.BytesIO(content)))
    linear = to_linear(stored / 255) @ P3_TO_XYZ.T @ np.linalg.inv(SRGB_TO_XYZ).T
    expected = np.round(255 * from_linear(np.clip(linear, 0, 1)))
    assert difference(decode_bytes(content), expected) <= 2
    assert difference(stored, expected) > 15  # or nothing would have been shown


def test_srgb_under_another_name_changes_no_pixel() -> None:
    content = encoded(Image.fromarray(IMAGE), icc_profile=matrix_profile(SRGB_TO_XYZ, SRGB_CURVE))
    assert np.array_equal(decode_bytes(content), IMAGE)


def test_a_gray_profile_is_converted_too() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    content = encoded(Image.fromarray(ramp), icc_profile=profile(b"GRAY", {b"kTRC": LINEAR}))
    rgb = decode_bytes(content)
    assert difference(rgb[..., 1], np.round(255 * from_linear(ramp / 255))) <= 2 and is_gray(rgb)


def test_a_profile_for_another_kind_of_image_is_ignored() -> None:
    gray = np.asarray(Image.fromarray(IMAGE).convert("L"))
    content = encoded(Image.fromarray(gray), icc_profile=matrix_profile(P3_TO_XYZ, SRGB_CURVE))
    assert np.array_equal(decode_bytes(content), np.dstack([gray] * 3))


def test_lab_files_become_srgb() -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    content = encoded(ImageCms.applyTransform(Image.fromarray(IMAGE), lab), "TIFF")
    colors = rgb2lab(decode_bytes(content)), rgb2lab(IMAGE)
    # Lab in 8 bits is that coarse.
    assert np.linalg.norm(colors[0] - colors[1], axis=-1).mean() < 1


def test_cmyk_goes_by_the_plain_formula() -> None:
    cmyk = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    light = 255 - cmyk.astype(float)
    expected = light[..., :3] * light[..., 3:] / 255
    assert difference(decode_bytes(encoded(Image.fromarray(cmyk, "CMYK"), "TIFF")), np.round(expected)) <= 1


# --- depth


def png16(values: np.ndarray, color_type: int) -> bytes:
    """A PNG of 16 bits: (H, W) gray (0) or (H, W, 3) color (2)."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_16_bits_are_scaled_by_one_rule_in_color_and_gray() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (40, 50, 3), dtype=np.uint16)
    expected = np.round(values / 257)
    assert difference(decode_bytes(png16(values, 2)), expected) <= 1
    gray = decode_bytes(png16(values[..., 0], 0))
    assert np.array_equal(gray, np.dstack([expected[..., 0]] * 3))


def test_a_dark_image_of_16_bits_stays_dark() -> None:
    assert (decode_bytes(png16(np.full((8, 8), 250, np.uint16), 0)) == 1).all()


def test_floats_are_read_as_0_to_1() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(decode_bytes(encoded(Image.fromarray(ramp), "TIFF"))[..., 0], np.arange(256).reshape(16, 16))


@pytest.mark.parametrize("worst", [255.0, -0.5, np.nan, np.inf])
def test_floats_without_a_known_white_are_unreadable(worst: float) -> None:
    values = np.full((4, 4), 0.5, np.float32)
    values[1, 2] = worst
    with pytest.raises(UnreadableImage, match="white level is unknown"):
        decode_bytes(encoded(Image.fromarray(values), "TIFF"))


# --- transparency


def test_half_transparent_pixels_are_mixed_with_white() -> None:
    alpha = np.tile(np.linspace(0, 255, 160).astype(np.uint8), (120, 1))
    weight = alpha[..., None] / 255
    expected = np.round(weight * IMAGE + (1 - weight) * 255)
    assert difference(decode_bytes(encoded(Image.fromarray(np.dstack([IMAGE, alpha])))), expected) <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_transparent_color_is_white(mode: str) -> None:
    image = Image.fromarray(IMAGE).convert(mode)
    key = image.getpixel((5, 5))
    rgb = decode_bytes(encoded(image, transparency=key))
    plain = np.asarray(image.convert("RGB"))
    hit = (np.atleast_3d(np.asarray(image)) == key).all(axis=-1)
    assert (rgb[hit] == 255).all() and np.array_equal(rgb[~hit], plain[~hit])


# --- metadata and damage


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_undone(orientation: int) -> None:
    # How the camera would have stored the upright image (EXIF 2.3, tag 0x0112: where row 0 and column 0 lie).
    up = IMAGE
    stored = {
        1: up,
        2: up[:, ::-1],
        3: up[::-1, ::-1],
        4: up[::-1],
        5: up.transpose(1, 0, 2),
        6: np.rot90(up, 1),
        7: up[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(up, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode_bytes(encoded(Image.fromarray(np.ascontiguousarray(stored)), exif=exif)), up)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0junk", b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01", b"junk", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x07"]
)
@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_broken_exif_costs_no_image(exif: bytes, format: str) -> None:
    content = encoded(Image.fromarray(IMAGE), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    assert np.array_equal(decode_bytes(content), IMAGE)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "JPEG2000", "GIF", "BMP", "AVIF"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_damaged_files_decode_or_say_why_but_never_crash(format: str) -> None:
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    full = encoded(Image.fromarray(IMAGE[:64, :64]), format)
    rng, reasons = random.Random(0), list[str]()
    for attempt in range(80):
        content = bytearray(full)
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(min(len(content), rng.choice([100, 300, len(content)])))] = rng.randrange(256)
        try:
            rgb = decode_bytes(bytes(content[: rng.randrange(len(content))] if attempt % 5 == 0 else content))
            assert rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.dtype == np.uint8
        except UnreadableImage as error:
            reasons.append(str(error))
    assert len(reasons) > 10 and all(reason and "\n" not in reason for reason in reasons)


@pytest.mark.parametrize("progressive", [False, True])
def test_half_a_jpeg_is_unreadable(progressive: bool) -> None:
    content = encoded(Image.fromarray(IMAGE), "JPEG", progressive=progressive)
    with pytest.raises(UnreadableImage, match="truncated"):
        decode_bytes(content[: len(content) // 2])


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_limit_of_pixels_holds_even_where_it_only_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    content, pixels = encoded(Image.fromarray(IMAGE)), IMAGE.shape[0] * IMAGE.shape[1]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    assert np.array_equal(decode_bytes(content), IMAGE)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels - 1)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        decode_bytes(content)


def test_decoding_in_threads_leaves_the_filters_of_warnings_alone() -> None:
    content, before = encoded(Image.fromarray(skimage.data.astronaut()), "JPEG"), list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decode_bytes, [content] * 100))
    assert warnings.filters == before
