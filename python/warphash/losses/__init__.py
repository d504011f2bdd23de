# SPDX-License-Identifier: Apache-2.0
"""Losses and regularisers, as pure functions."""

from .sparsity import flops

__all__ = ["flops"]
