# SPDX-License-Identifier: Apache-2.0
"""Layers built on the kernels."""

from .hashing import HashHead
from .shallow import LinearHash, itq, random_projection

__all__ = ["HashHead", "LinearHash", "itq", "random_projection"]
