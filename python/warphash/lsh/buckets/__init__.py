# SPDX-License-Identifier: Apache-2.0
"""Bucket tables: stable sort, query, sums."""

from . import functional, reference, registration

__all__ = ["functional", "reference", "registration"]
