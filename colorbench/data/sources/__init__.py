"""Sources of datasets: folders, lists of files, the packaged samples."""

from colorbench.data.sources.folder import open_dataset

__all__ = ["open_dataset"]
