"""Sources of datasets: folders, list files, and the sample images of installed packages."""

from colorbench.data.sources.open_folder_or_list import open_dataset

__all__ = ["open_dataset"]
