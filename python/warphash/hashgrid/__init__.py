# SPDX-License-Identifier: Apache-2.0
"""Multiresolution hash encoding: exact, twice differentiable, the same numbers on every machine."""

from . import functional, reference, registration, registration_variation, tcnn
from .functional import encode, level_view, total_variation
from .spec import GridSpec
from .tcnn import export_tcnn, from_tcnn_config, import_tcnn

__all__ = [
    "GridSpec",
    "encode",
    "export_tcnn",
    "from_tcnn_config",
    "functional",
    "import_tcnn",
    "level_view",
    "reference",
    "registration",
    "registration_variation",
    "tcnn",
    "total_variation",
]
