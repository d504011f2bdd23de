# SPDX-License-Identifier: Apache-2.0
"""Calls of the room's operators for the conformance checks, one file a folder of kernels."""

from __future__ import annotations

from conformance.op_case import OpCase

from . import samples_buckets, samples_pairs, samples_projections, samples_sketches

CASES: list[OpCase] = [
    *samples_projections.CASES,
    *samples_sketches.CASES,
    *samples_buckets.CASES,
    *samples_pairs.CASES,
]
