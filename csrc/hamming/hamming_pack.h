// SPDX-License-Identifier: Apache-2.0
// Values to bits and back. Torch-free. Bit j of a code is bit j % 8 of byte j / 8; pad bits are zero.
#pragma once

#include <cstdint>

namespace warphash::hamming {

enum class ValueType { boolean, u8, i8, i16, i32, i64, u16, u32, u64, f16, bf16, f32, f64 };

// values [rows, bits] to codes [rows, ceil(bits / 8)]: bit = value >= threshold, the threshold first rounded to the type of
// floating-point values; integers are compared exactly, booleans are the bits themselves. NaN gives 0.
void pack(ValueType type, const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes);

// codes [rows, bytes] to bits [rows, bits], bits <= 8 * bytes, one byte each.
void unpack(const uint8_t* codes, int64_t rows, int64_t bytes, int64_t bits, bool* out);

}  // namespace warphash::hamming
