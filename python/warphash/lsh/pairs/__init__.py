# SPDX-License-Identifier: Apache-2.0
"""Candidate pairs from band keys, their true Jaccard, connected components."""

from . import functional, reference, registration

__all__ = ["functional", "reference", "registration"]
