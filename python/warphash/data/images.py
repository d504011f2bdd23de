# SPDX-License-Identifier: Apache-2.0
"""Near-duplicates among images, by a perceptual hash."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _checks, hamming
from ..interop import as_tensor, like
from .vectors import VectorDeduplication, deduplicate_vectors

__all__ = ["deduplicate_images", "dhash"]

_LARGEST_SIZE = 64
_PIXELS = 1 << 24  # at a time, in float64
_DEEP_MODES = ("I", "F")  # Pillow's modes of more than 8 bits begin so: I, I;16, I;16B, F


def dhash(images: Any, size: int = 8) -> Any:
    """Difference hash: whether the image grows brighter to the right, at ``size`` x ``size`` places.

    The image is made grey (ITU-R 601: 0.299, 0.587 and 0.114 of red, green and blue), shrunk to ``size`` rows of
    ``size + 1`` means over equal areas (a pixel at a border counts in parts), and each mean is compared with its right
    neighbour: bit ``row * size + column`` is 1 where the right one is larger. Sums of uint8 images are exact, so that
    the bits are the same everywhere.

    Args:
        images: uint8, float16, bfloat16, float32 or float64, ``[N, H, W]`` grey or ``[N, C, H, W]`` with 1 channel
            (grey), 3 (red, green, blue) or 4 (an alpha channel that does not count). H and W of at least 1.
        size: rows and columns of the hash, 1 to 64.

    Returns:
        uint8 ``[N, ceil(size² / 8)]``, the layout of :func:`warphash.hamming.pack`: 8 bytes for the usual size. A pixel
        that is not finite (NaN, infinities) spoils the means of the areas that it lies in, and no others: the bits that
        compare one of these are 0.

    Raises:
        TypeError: another dtype, ``size`` is no int.
        ValueError: another shape, no pixels, ``size`` is out of range.

    Complexity: O(pixels · size). Memory: float64 copies of 2^24 pixels at a time.

    Source: Krawetz, "Kind of like that", 2013; areas instead of a filter.
    """
    pixels = _checks.with_data("images", _checks.dense("images", as_tensor(images, "images")))
    _checks.device_served("images", pixels)
    if pixels.dtype != torch.uint8 and not pixels.dtype.is_floating_point:
        raise TypeError(f"images must be uint8 or floating, got {pixels.dtype}")
    if pixels.dim() not in (3, 4) or (pixels.dim() == 4 and pixels.shape[1] not in (1, 3, 4)):
        raise ValueError(f"images must be [N, H, W] or [N, 1, 3 or 4, H, W], got shape {tuple(pixels.shape)}")
    if 0 in pixels.shape[-2:]:
        raise ValueError(f"images must have pixels, got shape {tuple(pixels.shape)}")
    side = _checked_size(size)
    height, width = pixels.shape[-2:]
    rows, columns = (_areas(n, parts, pixels.device) for n, parts in ((height, side), (width, side + 1)))
    codes = [torch.empty(0, (side * side + 7) // 8, dtype=torch.uint8, device=pixels.device)]
    for some in pixels.detach().split(max(1, _PIXELS // (height * width))):
        sums = _sums(_grey(some), rows, columns, pixels.dtype.is_floating_point)
        codes.append(hamming.pack((sums[..., 1:] > sums[..., :-1]).flatten(1), 0.5))
    return like(images, torch.cat(codes))


def deduplicate_images(
    images: Any,
    *,
    radius: int = 6,
    size: int = 8,
    groups: Any = None,
    select: str = "components",
) -> VectorDeduplication:
    """Finds images whose difference hashes are near each other and keeps the first of each cluster.

    Args:
        images: an array as :func:`dhash` takes it; or an iterable of images, each a path (read by Pillow) or an array
            ``[H, W]`` or ``[C, H, W]``, which may differ in their sizes and are held one at a time. Files of one
            channel of 16 or 32 bits or of floating point are read as they are, others as red, green and blue of 8 bits.
        radius: the largest distance of near-duplicates, in bits of size².
        size: of the hash.
        groups: images of different groups are never near-duplicates; see :func:`deduplicate_vectors`.
        select: ``"components"`` or ``"greedy"``, see there; greedy with radius 6 and volumes as groups is the
            reduction of "Less is More" (2024).

    Raises:
        TypeError, ValueError: as :func:`dhash` and :func:`deduplicate_vectors`.
        OSError: a file cannot be read or is no image.
        ImportError: paths without Pillow.
    """
    if isinstance(images, str | bytes | os.PathLike):
        raise TypeError(f"images must be an array or an iterable of images, got {type(images).__name__}")
    if hasattr(images, "__dlpack__") or hasattr(images, "__cuda_array_interface__"):
        codes = dhash(images, size)
    elif isinstance(images, Iterable):
        side = _checked_size(size)
        none = torch.empty(0, (side * side + 7) // 8, dtype=torch.uint8, device="cpu")
        codes = torch.cat([none, *(_hash_of_one(image, side) for image in images)])
    else:
        raise TypeError(f"images must be an array or an iterable of images, got {type(images).__name__}")
    return deduplicate_vectors(codes, radius=radius, groups=groups, select=select)


def _checked_size(size: Any) -> int:
    side = _checks.count("size", size, 1)
    if side > _LARGEST_SIZE:
        raise ValueError(f"size must be at most {_LARGEST_SIZE}, got {side}")
    return side


def _areas(pixels: int, parts: int, device: torch.device) -> Tensor:
    """float64 [parts, pixels]: the share of a pixel that lies in each of the equal parts, times ``parts``: integers."""
    # Lengths in units of 1 / parts of a pixel.
    ends = torch.arange(pixels + 1, device=device) * parts
    borders = torch.arange(parts + 1, device=device) * pixels
    overlap = torch.minimum(ends[1:], borders[1:, None]) - torch.maximum(ends[:-1], borders[:-1, None])
    return overlap.clamp(min=0).double()


def _sums(grey: Tensor, rows: Tensor, columns: Tensor, floating: bool) -> Tensor:
    """Of each area, NaN where not all of its pixels are finite. A product alone would carry 0 · NaN everywhere."""
    if not floating or bool((finite := grey.isfinite()).all()):
        return rows @ grey @ columns.T
    spoiled = (rows > 0).double() @ (~finite).double() @ (columns > 0).double().T > 0
    return (rows @ grey.where(finite, 0) @ columns.T).masked_fill(spoiled, float("nan"))


def _grey(images: Tensor) -> Tensor:
    """float64 [n, H, W]; for uint8 whole numbers, 1000 times the brightness where there are colours."""
    if images.dim() == 3 or images.shape[1] == 1:
        return (images if images.dim() == 3 else images[:, 0]).double()
    red, green, blue = images[:, :3].double().unbind(1)
    return 299 * red + 587 * green + 114 * blue


def _hash_of_one(image: Any, size: int) -> Tensor:
    if isinstance(image, str | bytes | os.PathLike):
        image = _read(Path(os.fsdecode(image)))
    pixels = as_tensor(image, "images")
    if pixels.dim() not in (2, 3):
        raise ValueError(f"images must hold [H, W] or [C, H, W], got shape {tuple(pixels.shape)}")
    code: Tensor = dhash(pixels.unsqueeze(0), size)
    return code.cpu()


def _read(path: Path) -> Tensor:
    """uint8 [3, H, W], or float64 [1, H, W] of what has more than 8 bits, which convert would cut off."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError("images from files need Pillow: pip install pillow") from error
    with Image.open(path) as image:
        if image.mode.startswith(_DEEP_MODES):
            return torch.from_numpy(np.array(image).astype(np.float64)).unsqueeze(0)
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
