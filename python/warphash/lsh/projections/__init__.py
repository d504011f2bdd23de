# SPDX-License-Identifier: Apache-2.0
"""SimHash, HD3 rotations, cross-polytope and p-stable codes of dense vectors."""

from . import functional, parameters, reference, registration

__all__ = ["functional", "parameters", "reference", "registration"]
