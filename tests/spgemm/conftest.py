# SPDX-License-Identifier: Apache-2.0
from cuda_emulation.emulated import emulated_kernels

__all__ = ["emulated_kernels"]
