"""Sources of datasets: folders, lists of files, the packaged samples."""

from colorbench.data.sources.open_folder_or_list import open_dataset

__all__ = ["open_dataset"]
