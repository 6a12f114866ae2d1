"""Colors of a few points of an image, as a guided colorizer is given them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class RevealedColors:
    """The revealed points of a batch, as many in every image."""

    positions: Tensor
    """(N, M, 2) int64, row and column of each point; M may be 0."""
    ab: Tensor
    """(N, M, 2) float32, the color of each point."""
    size: int = 1
    """Side in pixels of the square around each point whose mean color ``ab`` is, and that a network may be shown."""

    @property
    def count(self) -> int:
        """Number of points in each image."""
        return self.positions.shape[1]

    def first(self, count: int) -> RevealedColors:
        """Return the first ``count`` points of each image."""
        return replace(self, positions=self.positions[:, :count], ab=self.ab[:, :count])

    def selected(self, images: list[int]) -> RevealedColors:
        """Return the points of some images, in another order."""
        return replace(self, positions=self.positions[images], ab=self.ab[images])

    def copied(self) -> RevealedColors:
        """Return the same points in tensors of their own."""
        return replace(self, positions=self.positions.clone(), ab=self.ab.clone())

    def resized(self, given: tuple[int, int], size: tuple[int, int]) -> RevealedColors:
        """Return the same points in an image of another size.

        Args:
            given: (H, W) that the positions are in.
            size: (H, W) of the other image.
        """
        if given == size:
            return self
        old, new = (self.positions.new_tensor(one) for one in (given, size))
        # The pixel that the center of the old one falls into.
        positions = ((2 * self.positions + 1) * new).div(2 * old, rounding_mode="floor")
        return RevealedColors(positions, self.ab, max(1, round(self.size * min(size) / min(given))))

    def maps(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return the revealed colors as maps.

        Args:
            size: (H, W) of the image.

        Returns:
            (N, 2, H, W) ab, 0 where nothing is revealed, and (N, 1, H, W), 1 where a color is revealed and 0
            elsewhere. Squares are cut off at the border; of two that overlap, the later point's is on top.
        """
        height, width = size
        ab = self.ab.new_zeros(len(self.ab), 2, height, width)
        mask = self.ab.new_zeros(len(self.ab), 1, height, width)
        for image, (points, colors) in enumerate(zip(self.positions.tolist(), self.ab, strict=True)):
            for (row, column), color in zip(points, colors, strict=True):
                square = (image, slice(None), *_square_of(row, column, self.size))
                ab[square] = color[:, None, None]
                mask[square] = 1
        return ab, mask


def _square_of(row: int, column: int, size: int) -> tuple[slice, slice]:
    """Return rows and columns of a revealed square around a point; slicing cuts it off at the far borders."""
    top, left = row - size // 2, column - size // 2
    return slice(max(0, top), max(0, top + size)), slice(max(0, left), max(0, left + size))


def revealed_of(ab: Tensor, positions: Tensor, size: int) -> RevealedColors:
    """Reveal the true colors of some points of an image.

    Args:
        ab: (N, 2, H, W) of the images.
        positions: (N, M, 2) int64, rows and columns.
        size: side of the square around each point whose mean color is revealed.
    """
    colors = torch.zeros(*positions.shape[:2], 2, dtype=torch.float32)
    own = ab.float().cpu()
    for image, points in enumerate(positions.tolist()):
        for number, (row, column) in enumerate(points):
            colors[(image, number)] = own[(image, slice(None), *_square_of(row, column, size))].mean(dim=(1, 2))
    return RevealedColors(positions.to(ab.device), colors.to(ab.device), size)
