# SPDX-License-Identifier: Apache-2.0
"""Runs the project's CUDA kernel files on the CPU; README.md says how, and what that can show."""
