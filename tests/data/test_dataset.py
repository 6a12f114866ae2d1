"""From files to batches: every odd format has one outcome, every wrong input one line."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from skimage.data import astronaut
from torchvision import transforms

from colorbench.data.batch_loader import load_batches
from colorbench.data.dataset import Sample, id_hash
from colorbench.data.image_decoding import UnreadableImage, decode_bytes, decode_image
from colorbench.data.preprocessing import get_preprocessing
from colorbench.data.sources import open_dataset
from colorbench.errors import UserError

IMAGE = np.ascontiguousarray(astronaut()[:120, 100:260])  # (120, 160, 3)


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


# --- decoding


def test_a_plain_image_comes_out_as_it_is() -> None:
    assert np.array_equal(decode_bytes(encoded(Image.fromarray(IMAGE))), IMAGE)


@pytest.mark.parametrize(("orientation", "turn"), [(6, 3), (8, 1), (3, 2)])
def test_exif_rotation_is_applied(orientation: int, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(IMAGE), "PNG", exif=exif)
    assert np.array_equal(decode_bytes(content), np.rot90(IMAGE, turn))


def test_cmyk_becomes_rgb() -> None:
    content = encoded(Image.fromarray(IMAGE).convert("CMYK"), "TIFF")
    assert np.abs(decode_bytes(content).astype(int) - IMAGE).max() <= 1


def test_16_bits_are_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    rgb = decode_bytes(encoded(Image.fromarray(ramp)))
    assert np.array_equal(rgb[..., 0], np.arange(256).reshape(16, 16))
    assert (rgb[..., 0] == rgb[..., 2]).all()


def test_transparency_lies_on_white() -> None:
    rgba = np.dstack([IMAGE, np.full(IMAGE.shape[:2], 255, np.uint8)])
    rgba[:10, :, 3] = 0
    rgb = decode_bytes(encoded(Image.fromarray(rgba)))
    assert (rgb[:10] == 255).all() and np.array_equal(rgb[10:], IMAGE[10:])


def test_palettes_are_looked_up_and_transparent_entries_are_white() -> None:
    palette = Image.fromarray(IMAGE).quantize(32)
    assert np.array_equal(decode_bytes(encoded(palette)), np.asarray(palette.convert("RGB")))
    index = int(np.asarray(palette)[5, 5])
    assert decode_bytes(encoded(palette, transparency=index))[5, 5].tolist() == [255, 255, 255]


def test_a_foreign_profile_is_converted_to_srgb() -> None:
    # A profile with the channels of Lab is no RGB profile: it must be ignored, as viewers do.
    broken = encoded(Image.fromarray(IMAGE), icc_profile=b"no profile at all")
    assert np.array_equal(decode_bytes(broken), IMAGE)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(decode_bytes(encoded(Image.fromarray(IMAGE), icc_profile=srgb)), IMAGE)
    linear = linear_profile(srgb)
    converted = decode_bytes(encoded(Image.fromarray(IMAGE), icc_profile=linear))
    assert converted.mean() > IMAGE.mean() + 20  # linear light looks darker until it is converted


def linear_profile(srgb: bytes) -> bytes:
    """An sRGB profile whose three tone curves are replaced by the identity, under another name."""
    data = bytearray(srgb)
    count = int.from_bytes(data[128:132], "big")
    for i in range(count):
        entry = 132 + 12 * i
        name, offset = bytes(data[entry : entry + 4]), int.from_bytes(data[entry + 4 : entry + 8], "big")
        size = int.from_bytes(data[entry + 8 : entry + 12], "big")
        if name in (b"rTRC", b"gTRC", b"bTRC"):
            # `curv` with no entries is the identity.
            data[offset : offset + 12] = b"curv" + bytes(8)
            data[entry + 8 : entry + 12] = (12).to_bytes(4, "big")
        if name == b"desc":
            text = bytes(data[offset : offset + size])
            data[offset : offset + size] = text.replace(b"s\0R\0G\0B", b"l\0i\0n\0r").replace(b"sRGB", b"line")
    return bytes(data)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_gray_files_are_rgb_and_known_as_gray(tmp_path: Path, mode: str) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(IMAGE).convert(mode)))
    image = decode_image(Sample("a.png", tmp_path / "a.png"))
    assert image.rgb.shape == IMAGE.shape and image.gray


def test_one_colored_pixel_is_not_gray(tmp_path: Path) -> None:
    image = np.full((40, 40, 3), 90, np.uint8)
    image[33, 7] = 90, 90, 93
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(image)))
    assert not decode_image(Sample("a.png", tmp_path / "a.png")).gray


def test_the_first_frame_counts() -> None:
    frames = [Image.fromarray(IMAGE), Image.fromarray(255 - IMAGE)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode_bytes(content), IMAGE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am no image", "not a known image format"),
        (encoded(Image.fromarray(IMAGE), "JPEG")[:1500], "damaged"),
        (encoded(Image.fromarray(IMAGE))[:5000], "damaged"),
    ],
)
def test_unreadable_files_say_why(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnreadableImage, match=reason):
        decode_image(Sample("a.jpg", tmp_path / "a.jpg"))


def test_too_many_pixels_are_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(UnreadableImage, match="too many pixels"):
        decode_bytes(encoded(Image.fromarray(IMAGE)))


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="cannot read"):
        decode_image(Sample("a.jpg", tmp_path / "a.jpg"))


def test_the_hash_is_of_the_bytes(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(IMAGE), "JPEG")
    (tmp_path / "a.jpg").write_bytes(content)
    assert decode_image(Sample("a.jpg", tmp_path / "a.jpg")).sha256 == hashlib.sha256(content).hexdigest()


# --- preprocessings


def test_preprocessings() -> None:
    assert np.array_equal(
        get_preprocessing("squash256").apply(IMAGE),
        np.asarray(Image.fromarray(IMAGE).resize((256, 256), Image.Resampling.BICUBIC)),
    )
    center = get_preprocessing("center64").apply(IMAGE)
    shrunk = np.asarray(Image.fromarray(IMAGE).resize((85, 64), Image.Resampling.BICUBIC))
    assert np.array_equal(center, shrunk[:, 10:74])
    assert get_preprocessing("native").apply(IMAGE) is IMAGE
    assert get_preprocessing("native").mixed_sizes and not get_preprocessing("center64").mixed_sizes


@pytest.mark.parametrize("size", [(300, 451), (451, 300), (100, 121), (64, 64), (7, 90)])
def test_the_central_square_is_torchvisions(size: tuple[int, int]) -> None:
    rgb = np.ascontiguousarray(np.resize(IMAGE, (*size, 3)))
    apart = transforms.Compose([transforms.CenterCrop(min(size)), transforms.Resize(64)])
    np.testing.assert_array_equal(
        get_preprocessing("cropsquare64-bilinear-aa").apply(rgb), np.asarray(apart(Image.fromarray(rgb)))
    )
    squashed = transforms.Resize((64, 64))(Image.fromarray(rgb))
    np.testing.assert_array_equal(get_preprocessing("squash64-bilinear-aa").apply(rgb), np.asarray(squashed))


@pytest.mark.parametrize("size", [(300, 451), (100, 121), (20, 30)])
def test_bilinear_without_antialiasing_is_torchs(size: tuple[int, int]) -> None:
    rgb = np.ascontiguousarray(np.resize(IMAGE, (*size, 3)))
    planes = torch.from_numpy(rgb).double().movedim(-1, 0)[None]
    expected = torch.nn.functional.interpolate(planes, (64, 64), mode="bilinear")[0].movedim(0, -1)
    found = get_preprocessing("squash64-bilinear").apply(rgb)
    assert np.abs(found - expected.numpy()).max() <= 0.5 + 1e-6


def test_area_is_the_mean_over_the_covered_pixels() -> None:
    rgb = np.arange(5 * 5 * 3, dtype=np.uint8).reshape(5, 5, 3)
    found = get_preprocessing("squash2-area").apply(rgb)
    # Half of the middle row and column belongs to each side: weights 1, 1, 1/2.
    weights = np.array([[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]]) / 2.5
    np.testing.assert_array_equal(found, np.einsum("yi,xj,ijc->yxc", weights, weights, rgb.astype(float)).round())
    doubled = np.repeat(np.repeat(IMAGE[:64, :64], 2, axis=0), 2, axis=1)
    np.testing.assert_array_equal(get_preprocessing("cropsquare64-area").apply(doubled), IMAGE[:64, :64])


@pytest.mark.parametrize(
    "name", ["squash", "squash0", "Squash256", "crop256", "center-3", "center9-bilinear", "squash9-nearest", ""]
)
def test_unknown_preprocessings_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="unknown preprocessing"):
        get_preprocessing(name)


# --- sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An ImageFolder tree of two classes with five images."""
    for i, name in enumerate(("cat/a.jpg", "cat/b.JPEG", "dog/c.png", "dog/d.png", "dog/e.webp")):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(IMAGE, 10 * i, axis=1)).save(path)
    return tmp_path / "set"


def test_folders_are_classes_where_all_images_lie_one_down(tree: Path) -> None:
    dataset = open_dataset(tree)
    assert [sample.id for sample in dataset.samples] == [
        "cat/a.jpg",
        "cat/b.JPEG",
        "dog/c.png",
        "dog/d.png",
        "dog/e.webp",
    ]
    assert [sample.label for sample in dataset.samples] == [0, 0, 1, 1, 1]
    assert dataset.class_names == ("cat", "dog")
    Image.fromarray(IMAGE).save(tree / "loose.png")
    assert open_dataset(tree).class_names is None


def test_packaged_images_are_real_and_colored() -> None:
    dataset = open_dataset()
    assert len(dataset) >= 6 and dataset.redistributable
    assert not any(decode_image(sample).gray for sample in dataset.samples)


def test_labels_are_found_beside_images(tree: Path, tmp_path: Path) -> None:
    root = tmp_path / "flat"
    (root / "images").mkdir(parents=True)
    for path in tree.rglob("*.png"):
        (root / "images" / path.name).write_bytes(path.read_bytes())
    (root / "labels.csv").write_text("file,class_index,synset\nc.png,7,n01\nd.png,3,n02\n")
    for spec in (root, root / "images"):
        dataset = open_dataset(spec)
        assert [(sample.id, sample.label) for sample in dataset.samples] == [("c.png", 7), ("d.png", 3)]
        assert dataset.class_names is not None and dataset.class_names[7] == "n01"
    (root / "labels.csv").write_text("file,class_index\nc.png,7\n")
    with pytest.raises(UserError, match=r"1 of 2 images have no label, first 'd\.png'"):
        open_dataset(root)
    (root / "labels.csv").write_text("file,class_index\nc.png,seven\n")
    with pytest.raises(UserError, match=r"'seven' is not a class index \(.*line 2"):
        open_dataset(root)


def test_lists_in_the_papers_form(tree: Path, tmp_path: Path) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text("/dog/d.png 818\n/cat/a.jpg 819\n")
    dataset = open_dataset(tree, list_file=listing)
    assert [(sample.id, sample.label) for sample in dataset.samples] == [("cat/a.jpg", 819), ("dog/d.png", 818)]
    # The same list where all files lie in one folder.
    listing.write_text("/synset/d.png 818\n")
    assert open_dataset(tree / "dog", list_file=listing).samples[0].path.name == "d.png"
    listing.write_text("cat/a.jpg\nnot/there.png\n")
    with pytest.raises(UserError, match=r"1 of 2 listed images do not exist, the first: 'not/there\.png'"):
        open_dataset(tree, list_file=listing)
    listing.write_text("cat/a.jpg\ncat/a.jpg\n")
    with pytest.raises(UserError, match="listed twice"):
        open_dataset(tree, list_file=listing)
    (tmp_path / "outside.png").write_bytes((tree / "dog" / "c.png").read_bytes())
    listing.write_text("../outside.png\n")
    with pytest.raises(UserError, match="outside"):
        open_dataset(tree, list_file=listing)


def test_bad_positions_are_named(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        open_dataset(tmp_path / "missing")
    with pytest.raises(UserError, match="a file, not a folder"):
        open_dataset(tree / "cat" / "a.jpg")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no images"):
        open_dataset(tmp_path / "empty")


def test_a_limit_takes_the_ids_of_smallest_hash(tree: Path) -> None:
    dataset = open_dataset(tree)
    ids = [sample.id for sample in dataset.samples]
    chosen = [sample.id for sample in dataset.limit(2).samples]
    assert chosen == sorted(sorted(ids, key=id_hash)[:2])
    assert set(chosen) <= {sample.id for sample in dataset.limit(3).samples}


# --- loading


def test_batches_keep_order_whatever_the_number_of_workers(tree: Path) -> None:
    samples = open_dataset(tree).samples
    preprocessing = get_preprocessing("squash32")
    plain = list(load_batches(samples, preprocessing, batch_size=2, workers=0))
    for workers in (1, 4):
        threaded = list(load_batches(samples, preprocessing, batch_size=2, workers=workers))
        assert [batch.ids for batch in threaded] == [batch.ids for batch in plain]
        assert all(np.array_equal(a.rgb8, b.rgb8) for a, b in zip(plain, threaded, strict=True))
    assert [len(batch.ids) for batch in plain] == [2, 2, 1]
    for batch in plain:
        for i, id in enumerate(batch.ids):
            rgb = decode_image(next(sample for sample in samples if sample.id == id)).rgb
            assert np.array_equal(batch.rgb8[i].permute(1, 2, 0), preprocessing.apply(rgb))
            assert batch.sizes[i] == rgb.shape[:2]


def test_skips_are_reported_with_their_reason_even_at_the_end(tree: Path) -> None:
    (tree / "dog" / "z.png").write_bytes(b"nothing")
    Image.fromarray(IMAGE).convert("L").save(tree / "cat" / "gray.png")
    samples = open_dataset(tree).samples
    batches = list(load_batches(samples, get_preprocessing("squash16"), batch_size=2, workers=2, gray_policy="drop"))
    skipped = {one.id: one.reason for batch in batches for one in batch.skipped}
    assert skipped.keys() == {"cat/gray.png", "dog/z.png"} and "--gray drop" in skipped["cat/gray.png"]
    assert sum(len(batch.ids) for batch in batches) == 5
    kept = list(load_batches(samples, get_preprocessing("squash16"), batch_size=9, workers=1))
    assert dict(zip(kept[0].ids, kept[0].gray, strict=True))["cat/gray.png"]


def test_images_of_different_sizes_are_not_batched_together(tmp_path: Path) -> None:
    for i, width in enumerate((160, 160, 100, 160)):
        Image.fromarray(IMAGE[:, :width]).save(tmp_path / f"{i}.png")
    batches = load_batches(open_dataset(tmp_path).samples, get_preprocessing("native"), batch_size=8, workers=1)
    assert [batch.ids for batch in batches] == [("0.png", "1.png"), ("2.png",), ("3.png",)]
