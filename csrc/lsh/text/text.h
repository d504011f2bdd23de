// SPDX-License-Identifier: Apache-2.0
// Texts to sets of shingles. Torch-free.
#pragma once

#include <cstdint>
#include <vector>

namespace warphash::lsh {

// Text i: bytes[offsets[i]] ... bytes[offsets[i + 1] - 1], UTF-8, lower-cased already.
struct Texts {
  const uint8_t* bytes;
  int64_t byte_count;
  const int64_t* offsets;  // [count + 1], ascending from 0 to byte_count
  int64_t count;
};

constexpr int64_t code_points = 0x110000;

// What is counted: words, which are runs of code points whose bit (of code_points, the lowest of each byte first) is set, or
// each code point; and how many units after one another are a shingle.
struct Units {
  bool words;
  const uint8_t* word_points;
  int64_t ngram;
};

// The shingles of text i are the next counts[i] tokens, ascending and distinct, of pieces that follow each other.
//
// Of a unit: u = fmix64(h), h = 0, then (h ^ c) * 0x9E3779B97F4A7C15 and h ^ h >> 32 for each 8 bytes c of a word's UTF-8,
// little-endian, zeros behind the last; or h = the code point + 1. Of a shingle: fmix64 of the sum over its units
// u[0] ... u[n - 1] of u[j] * 0xD1342543DE82EF95^(n - 1 - j), mod 2^64. Bytes that are no UTF-8 count as U+FFFD each.
std::vector<std::vector<int64_t>> shingles(const Texts& texts, const Units& units, int64_t* counts);

}  // namespace warphash::lsh
