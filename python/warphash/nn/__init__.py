# SPDX-License-Identifier: Apache-2.0
"""Layers built on the kernels."""

from .attention import HyperAttention, hyper_attention
from .behavior import BehaviorSequenceEncoder, SDIMAttention
from .encoding import HashGrid, progressive_levels
from .graph import GraphPower, neighborhood_tokens
from .hashing import HashHead
from .rigid import RigidTransform, fit_frame
from .sdf import SDFNetwork, SDFOutput, eikonal_loss, neus_alpha
from .shallow import LinearHash, itq, random_projection
from .sparse import SparseEncoderHead

__all__ = [
    "BehaviorSequenceEncoder",
    "GraphPower",
    "HashGrid",
    "HashHead",
    "HyperAttention",
    "LinearHash",
    "RigidTransform",
    "SDFNetwork",
    "SDFOutput",
    "SDIMAttention",
    "SparseEncoderHead",
    "eikonal_loss",
    "fit_frame",
    "hyper_attention",
    "itq",
    "neighborhood_tokens",
    "neus_alpha",
    "progressive_levels",
    "random_projection",
]
