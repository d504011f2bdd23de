// SPDX-License-Identifier: Apache-2.0
// Bound: reading the values. SSE2, which every x86-64 has, turns 16 comparisons of floats into 2 bytes; the compiler does
// the rest well enough.
#include "hamming/hamming_pack.h"

#include <emmintrin.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/parallel.h"

namespace warphash::hamming {
namespace {

// Calls body(first, last) for ranges of rows of about chunk_bytes, which are enough work to share.
template <class Body>
void over_rows(int64_t rows, int64_t bytes_a_row, const Body& body, int64_t chunk_bytes = int64_t{1} << 18) {
  const int64_t chunk = std::max<int64_t>(1, chunk_bytes / std::max<int64_t>(bytes_a_row, 1));
  parallel_tasks((rows + chunk - 1) / chunk,
                 [&](int64_t task) { body(task * chunk, std::min(rows, (task + 1) * chunk)); });
}

// One row; is_set(value) decides.
template <class T, class Set>
void pack_row(const T* values, int64_t bits, uint8_t* code, const Set& is_set) {
  int64_t bit = 0;
  for (; bit + 8 <= bits; bit += 8) {
    unsigned byte = 0;
    for (int i = 0; i < 8; ++i) byte |= static_cast<unsigned>(is_set(values[bit + i])) << i;
    *code++ = static_cast<uint8_t>(byte);
  }
  if (bit == bits) return;
  unsigned byte = 0;
  for (int i = 0; bit + i < bits; ++i) byte |= static_cast<unsigned>(is_set(values[bit + i])) << i;
  *code = static_cast<uint8_t>(byte);
}

template <class T, class Set>
void pack_rows(const void* values, int64_t rows, int64_t bits, uint8_t* codes, const Set& is_set) {
  const int64_t bytes = (bits + 7) / 8;
  over_rows(rows, bits * static_cast<int64_t>(sizeof(T)), [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      pack_row(static_cast<const T*>(values) + row * bits, bits, codes + row * bytes, is_set);
  });
}

void pack_float_rows(const float* values, int64_t rows, int64_t bits, float threshold, uint8_t* codes) {
  const int64_t bytes = (bits + 7) / 8, whole = bits / 16 * 16;
  const __m128 bound = _mm_set1_ps(threshold);
  auto compare = [&](const float* at) { return _mm_castps_si128(_mm_cmpge_ps(_mm_loadu_ps(at), bound)); };
  over_rows(rows, bits * 4, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const float* from = values + row * bits;
      uint8_t* code = codes + row * bytes;
      for (int64_t bit = 0; bit < whole; bit += 16) {
        __m128i low = _mm_packs_epi32(compare(from + bit), compare(from + bit + 4));
        __m128i high = _mm_packs_epi32(compare(from + bit + 8), compare(from + bit + 12));
        const uint16_t mask = static_cast<uint16_t>(_mm_movemask_epi8(_mm_packs_epi16(low, high)));
        std::memcpy(code + bit / 8, &mask, 2);
      }
      pack_row(from + whole, bits - whole, code + whole / 8, [&](float value) { return value >= threshold; });
    }
  });
}

// 16-bit floats are compared as integers: sign and magnitude turned into an order. infinity: its bits.
void pack_short_floats(const uint16_t* values, int64_t rows, int64_t bits, uint16_t threshold, uint16_t infinity,
                       uint8_t* codes) {
  const int64_t bytes = (bits + 7) / 8, whole = bits / 16 * 16;
  auto order = [](uint16_t x) { return static_cast<int16_t>(x & 0x8000 ? x ^ 0x7fff : x); };
  const int16_t bound = order((threshold & 0x7fff) == 0 ? 0x8000 : threshold);  // -0 >= +0 holds
  const __m128i bounds = _mm_set1_epi16(bound), magnitude = _mm_set1_epi16(0x7fff),
                infinities = _mm_set1_epi16(static_cast<int16_t>(infinity));
  auto fails = [&](const uint16_t* at) {
    const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i ordered = _mm_xor_si128(x, _mm_and_si128(_mm_srai_epi16(x, 15), magnitude));
    return _mm_or_si128(_mm_cmplt_epi16(ordered, bounds), _mm_cmpgt_epi16(_mm_and_si128(x, magnitude), infinities));
  };
  over_rows(rows, bits * 2, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const uint16_t* from = values + row * bits;
      uint8_t* code = codes + row * bytes;
      for (int64_t bit = 0; bit < whole; bit += 16) {
        const uint16_t mask =
            static_cast<uint16_t>(~_mm_movemask_epi8(_mm_packs_epi16(fails(from + bit), fails(from + bit + 8))));
        std::memcpy(code + bit / 8, &mask, 2);
      }
      pack_row(from + whole, bits - whole, code + whole / 8,
               [=](uint16_t x) { return order(x) >= bound && (x & 0x7fff) <= infinity; });
    }
  });
}

template <class T>
void pack_integers(const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes) {
  // The least integer that is not below the threshold; 2^digits is exact as a double, the type's maximum may not be.
  const double least = std::ceil(threshold), end = std::ldexp(1.0, std::numeric_limits<T>::digits);
  if (!(least < end)) return pack_rows<T>(values, rows, bits, codes, [](T) { return false; });
  const T bound = least <= static_cast<double>(std::numeric_limits<T>::min()) ? std::numeric_limits<T>::min()
                                                                              : static_cast<T>(least);
  pack_rows<T>(values, rows, bits, codes, [=](T value) { return value >= bound; });
}

uint16_t to_half(float value) {
  _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, 2);
  return bits;
}
uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

void pack(ValueType type, const void* values, int64_t rows, int64_t bits, double threshold, uint8_t* codes) {
  switch (type) {
    case ValueType::boolean:
      return pack_rows<uint8_t>(values, rows, bits, codes, [](uint8_t value) { return value != 0; });
    case ValueType::u8: return pack_integers<uint8_t>(values, rows, bits, threshold, codes);
    case ValueType::i8: return pack_integers<int8_t>(values, rows, bits, threshold, codes);
    case ValueType::i16: return pack_integers<int16_t>(values, rows, bits, threshold, codes);
    case ValueType::i32: return pack_integers<int32_t>(values, rows, bits, threshold, codes);
    case ValueType::i64: return pack_integers<int64_t>(values, rows, bits, threshold, codes);
    case ValueType::u16: return pack_integers<uint16_t>(values, rows, bits, threshold, codes);
    case ValueType::u32: return pack_integers<uint32_t>(values, rows, bits, threshold, codes);
    case ValueType::u64: return pack_integers<uint64_t>(values, rows, bits, threshold, codes);
    case ValueType::f16:
      return pack_short_floats(static_cast<const uint16_t*>(values), rows, bits, to_half(static_cast<float>(threshold)),
                               0x7c00, codes);
    case ValueType::bf16:
      return pack_short_floats(static_cast<const uint16_t*>(values), rows, bits,
                               to_bfloat16(static_cast<float>(threshold)), 0x7f80, codes);
    case ValueType::f32:
      return pack_float_rows(static_cast<const float*>(values), rows, bits, static_cast<float>(threshold), codes);
    case ValueType::f64:
      return pack_rows<double>(values, rows, bits, codes, [=](double value) { return value >= threshold; });
  }
}

void unpack(const uint8_t* codes, int64_t rows, int64_t bytes, int64_t bits, bool* out) {
  static_assert(sizeof(bool) == 1);
  const __m128i places = _mm_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const auto unpack_rows = [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row) {
      const uint8_t* code = codes + row * bytes;
      uint8_t* to = reinterpret_cast<uint8_t*>(out) + row * bits;
      int64_t bit = 0;
      for (; bit + 16 <= bits; bit += 16) {
        // Both bytes eight times over, then one bit of each copy.
        __m128i copies = _mm_cvtsi32_si128(code[bit / 8] | code[bit / 8 + 1] << 8);
        copies = _mm_shufflelo_epi16(_mm_unpacklo_epi8(copies, copies), 0x50);
        copies = _mm_unpacklo_epi32(copies, copies);
        const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(copies, places), places);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + bit), _mm_and_si128(set, _mm_set1_epi8(1)));
      }
      for (; bit < bits; ++bit) to[bit] = code[bit / 8] >> (bit % 8) & 1;
    }
  };
  // Larger than a large page, lest two threads be the first to write one.
  over_rows(rows, bits, unpack_rows, int64_t{1} << 23);
}

}  // namespace warphash::hamming
