# SPDX-License-Identifier: Apache-2.0
"""Generic checks that run over every operator of every room; a room's part is its ``samples.py``."""
