"""Definitions of the named datasets that colorization papers evaluate on, by list or rule.

Not included, since their lists are unknown: UniColor's five images of each class (unknown seeds), CelebA-HQ (papers use
different subsets), COCO-Stuff val (names are in COCO's annotation file: use ``--list``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from colorbench.data.named_datasets import ListedSet

LISTS = Path(__file__).parent / "named"
"""Folder of ``NAME.bits`` files: bit i is set if number ``first`` + i belongs to the set, least significant bit
first."""
IMAGENET = "ILSVRC2012_val_{:08d}"
IMAGENET_LICENSE = "ImageNet terms of access: research and education only"
IMAGENET_SOURCE = "image-net.org (ILSVRC2012, validation images)"
LARSSON = "the split of Larsson et al. (ECCV 2016), as AruniRC/colorizer-fcn has it"


def _rule(pattern: str, first: int, last: int) -> Callable[[], Iterator[str]]:
    """Return a function that yields the stems of a published set: a pattern with numbers ``first`` to ``last``."""
    return lambda: (pattern.format(number) for number in range(first, last + 1))


def _listed(name: str, first: int) -> Callable[[], Iterator[str]]:
    """Return a function that yields the stems of a published set of ImageNet images, listed in a file of bits."""

    def stems() -> Iterator[str]:
        bits = (LISTS / f"{name}.bits").read_bytes()
        return (IMAGENET.format(first + i) for i in range(8 * len(bits)) if bits[i // 8] >> (i % 8) & 1)

    return stems


CTEST10K = ListedSet(
    title="ctest10k: 10,000 ImageNet validation images, the test set of Larsson et al. and of CIC",
    stems=_listed("ctest10k", 25275),
    n=10_000,
    sha256="f7e33b83d543b3446e0176b9918be5bcb576c285e2b6ded9c0d2556242a508d5",
    license=IMAGENET_LICENSE,
    where_to_get=IMAGENET_SOURCE,
    source=LARSSON,
)
CVAL1K = ListedSet(
    title="cval1k: 1,000 ImageNet validation images, the validation set of Larsson et al.; none of ctest10k",
    stems=_listed("cval1k", 1),
    n=1_000,
    sha256="4e7507575bbf355ea63dfc5488ae4e00189c4e264e00bb88fde343df7c6c796a",
    license=IMAGENET_LICENSE,
    where_to_get=IMAGENET_SOURCE,
    source=LARSSON,
)
IMAGENET_VAL5K = ListedSet(
    title="the first 5,000 ImageNet validation images (CT2, DDColor and others); none of ctest10k",
    stems=_rule(IMAGENET, 1, 5_000),
    n=5_000,
    sha256="149b433846abded7ff07174197c2758e93370408175b88281fbd8468808e66d9",
    license=IMAGENET_LICENSE,
    where_to_get=IMAGENET_SOURCE,
    source="code of CT2; piddnad/DDColor, issue 9",
)
IMAGENET_VAL50K = ListedSet(
    title="all 50,000 ImageNet validation images",
    stems=_rule(IMAGENET, 1, 50_000),
    n=50_000,
    sha256="3739e4d4e0f2fa1b0275b773923f784a9c91933866d5db2383e04f04448afd5e",
    license=IMAGENET_LICENSE,
    where_to_get=IMAGENET_SOURCE,
)
ADE20K_VAL = ListedSet(
    title="ADE20K validation images, 2,000",
    stems=_rule("ADE_val_{:08d}", 1, 2_000),
    n=2_000,
    sha256="302fe0402c1fa1a83d54bc5d20723d53e2367320105f036673dafb1bd88aff9d",
    license="ADE20K terms: non-commercial research and education",
    where_to_get="groups.csail.mit.edu/vision/datasets/ADE20K",
)
