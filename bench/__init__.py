# SPDX-License-Identifier: Apache-2.0
"""Benches: `python -m bench`. A room is a module here that defines `ROOM`; a new one is a name in this tuple."""

ROOMS = ("hamming", "hashgrid", "lsh", "spgemm")
