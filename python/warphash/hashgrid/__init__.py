# SPDX-License-Identifier: Apache-2.0
"""Multiresolution hash encoding: exact, twice differentiable, the same numbers on every machine."""

from . import functional, reference, registration
from .functional import encode
from .spec import GridSpec

__all__ = ["GridSpec", "encode", "functional", "reference", "registration"]
