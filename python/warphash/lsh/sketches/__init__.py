# SPDX-License-Identifier: Apache-2.0
"""MinHash and one-permutation MinHash of token sets, b-bit codes, band keys."""

from . import functional, reference, registration

__all__ = ["functional", "reference", "registration"]
