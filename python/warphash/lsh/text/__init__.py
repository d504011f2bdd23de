# SPDX-License-Identifier: Apache-2.0
"""Shingles of texts: sets of hashes of n words, or n characters, after one another."""

from . import functional, reference, registration

__all__ = ["functional", "reference", "registration"]
