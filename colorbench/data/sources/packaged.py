"""The dataset ``samples``: sample images that are part of installed packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from colorbench.data.dataset import Dataset
from colorbench.data.sources.samples import in_order, sample_of
from colorbench.errors import UserError

SAMPLES = "samples"
# Color images in two dependencies of colorbench: (package, folder in it) -> names. Drawings, textures, gray images,
# microscopy, and the motorcycle (no license stated) are left out.
PACKAGED = {
    ("skimage", "data"): ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"),
    ("sklearn", "datasets/images"): ("china.jpg", "flower.jpg"),
}


def open_packaged() -> Dataset:
    """Open the packaged images.

    Raises:
        UserError: if the packages that contain them are not installed.
    """
    samples = []
    for (package, folder), names in PACKAGED.items():
        # Located without importing the package, which would take seconds.
        found = find_spec(package)
        for installed in (found.submodule_search_locations or ()) if found else ():
            samples += [sample for name in names if (sample := sample_of(name, Path(installed, folder, name))).size]
    if not samples:
        raise UserError("the packaged images are missing", hint="reinstall scikit-image and scikit-learn")
    source = (
        "images included in scikit-image and scikit-learn "
        "(china by danielbuechele and flower by vultilion, both CC BY 2.0)"
    )
    return Dataset(SAMPLES, in_order(samples), redistributable=True, source=source)
