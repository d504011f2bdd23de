# SPDX-License-Identifier: Apache-2.0
"""Sparse products of CSR tensors."""

from . import reference

__all__ = ["reference"]
