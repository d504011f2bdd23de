// SPDX-License-Identifier: Apache-2.0
// Texts to sets of shingles. Bound: branches at the ends of words, one or two a word that a processor guesses wrong; the
// hashes are a few multiplications a word, whatever n is, since a shingle's sum is carried on from the one before.
//
// Tokens are uniform in 64 bits, so their high bits cut a text's into about as many buckets as there are tokens, and what is
// left to sort is a token or two: no comparison sort of the whole.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "common/parallel.h"
#include "lsh/mixing.h"
#include "lsh/text/text.h"

namespace warphash::lsh {
namespace {

constexpr int64_t task_bytes = 1 << 16, task_texts = 1024;
constexpr uint64_t golden = 0x9E3779B97F4A7C15, base = 0xD1342543DE82EF95, sign = uint64_t{1} << 63;

uint64_t load(const uint8_t* at) {
  uint64_t bytes;
  std::memcpy(&bytes, at, 8);
  return bytes;
}

struct Point {
  uint32_t value;
  int bytes;
};

// The code point at `at`, which is below `end`; surrogates are let through, as Python's "surrogatepass" writes them.
Point decoded(const uint8_t* at, const uint8_t* end) {
  const uint32_t lead = *at;
  if (lead < 0x80) return {lead, 1};
  const int bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  constexpr Point wrong{0xFFFD, 1};
  if (lead < 0xC2 || lead > 0xF4 || end - at < bytes) return wrong;
  uint32_t value = lead & (0x7Fu >> bytes);
  for (int i = 1; i < bytes; ++i) {
    if ((at[i] & 0xC0) != 0x80) return wrong;
    value = value << 6 | (at[i] & 0x3Fu);
  }
  return value < code_points ? Point{value, bytes} : wrong;
}

// Which bytes of a text belong to words: a bit each.
class WordBytes {
 public:
  explicit WordBytes(const uint8_t* points) : points_(points) {
    for (uint32_t byte = 0; byte < 256; ++byte) ascii_[byte] = byte < 128 && has(byte);
  }

  // bits has a 0 behind the last byte's.
  void mark(const uint8_t* begin, const uint8_t* end, std::vector<uint64_t>& bits) const {
    const size_t size = static_cast<size_t>(end - begin);
    bits.assign(size / 64 + 1, 0);
    for (size_t at = 0; at < size;) {
      const size_t block = at / 64;
      if (at % 64 == 0 && size - at >= 64 && is_ascii(begin + at)) {
        bits[block] = marked(begin + at);
        at += 64;
        continue;
      }
      // A code point may reach into the next block.
      const size_t block_end = std::min(size, (block + 1) * 64);
      while (at < block_end) {
        const Point point = decoded(begin + at, end);
        const bool is_word = has(point.value);
        for (int i = 0; i < point.bytes; ++i, ++at) bits[at / 64] |= uint64_t{is_word} << (at % 64);
      }
    }
  }

 private:
  bool has(uint32_t point) const { return points_[point / 8] >> (point % 8) & 1; }
  static bool is_ascii(const uint8_t* at) {
    uint64_t all = 0;
    for (int i = 0; i < 64; i += 8) all |= load(at + i);
    return (all & 0x8080808080808080) == 0;
  }
  uint64_t marked(const uint8_t* at) const {
    uint64_t bits = 0;
    for (int i = 0; i < 64; ++i) bits |= uint64_t{ascii_[at[i]]} << i;
    return bits;
  }

  const uint8_t* points_;
  std::array<uint8_t, 256> ascii_;
};

// The hashes of the units of one text at a time.
class Reader {
 public:
  Reader(const Texts& texts, const Units& units, const WordBytes& word_bytes)
      : all_end_(texts.bytes + texts.byte_count), words_(units.words), word_bytes_(word_bytes) {}

  const std::vector<uint64_t>& units(const uint8_t* begin, const uint8_t* end) {
    units_.clear();
    if (words_) {
      words(begin, end);
      return units_;
    }
    for (const uint8_t* at = begin; at < end;) {
      const Point point = decoded(at, end);
      units_.push_back(fmix64(uint64_t{point.value} + 1));
      at += point.bytes;
    }
    return units_;
  }

 private:
  // Runs of ones.
  void words(const uint8_t* begin, const uint8_t* end) {
    word_bytes_.mark(begin, end, bits_);
    const uint8_t* open = nullptr;  // a word that has begun in a block before
    for (size_t block = 0; block < bits_.size(); ++block) {
      const uint8_t* at = begin + 64 * block;
      uint64_t bits = bits_[block];
      if (open != nullptr) {
        const int ones = std::countr_one(bits);
        if (ones == 64) continue;
        units_.push_back(hashed(open, at + ones));
        open = nullptr;
        bits &= bits + 1;  // without its lowest ones, if bit 0 is one
      }
      while (bits != 0) {
        const int first = std::countr_zero(bits);
        const uint64_t after = bits + (bits & -bits);  // the run's ones have become one 1 behind it
        if (after == 0) {
          open = at + first;
          break;
        }
        units_.push_back(hashed(at + first, at + std::countr_zero(after)));
        bits &= after;
      }
    }
  }

  uint64_t hashed(const uint8_t* at, const uint8_t* end) const {
    uint64_t hash = 0;
    for (; end - at > 8; at += 8) hash = step(hash, load(at));
    const int64_t rest = end - at;
    uint64_t last = 0;
    if (all_end_ - at >= 8)
      last = load(at) & (~uint64_t{0} >> (64 - 8 * rest));
    else
      std::memcpy(&last, at, static_cast<size_t>(rest));
    return fmix64(step(hash, last));
  }
  static uint64_t step(uint64_t hash, uint64_t bytes) {
    hash = (hash ^ bytes) * golden;
    return hash ^ (hash >> 32);
  }

  const uint8_t* all_end_;
  bool words_;
  const WordBytes& word_bytes_;
  std::vector<uint64_t> units_, bits_;
};

// Sorts and makes distinct; what is sorted has its sign bit turned, so that the order is that of signed numbers.
class Sorter {
 public:
  void append(std::vector<uint64_t>& tokens, std::vector<int64_t>& out) {
    const size_t count = tokens.size();
    const std::vector<uint64_t>* sorted = &tokens;
    if (count < 32 || count >> 32 != 0) {
      std::sort(tokens.begin(), tokens.end());
    } else {
      by_buckets(tokens);
      sorted = &sorted_;
    }
    const size_t first = out.size();
    out.resize(first + count);
    int64_t* to = out.data() + first;
    uint64_t before = ~(*sorted)[0];
    for (size_t i = 0; i < count; ++i) {
      const uint64_t token = (*sorted)[i];
      // One that equals the one before is written too, and then over.
      to -= token == before;
      *to++ = static_cast<int64_t>(token ^ sign);
      before = token;
    }
    out.resize(static_cast<size_t>(to - out.data()));
  }

 private:
  void by_buckets(const std::vector<uint64_t>& tokens) {
    const int bits = std::min(16, static_cast<int>(std::bit_width(tokens.size())) + 1);
    const int shift = 64 - bits;
    starts_.assign((size_t{1} << bits) + 1, 0);
    for (const uint64_t token : tokens) ++starts_[(token >> shift) + 1];
    uint32_t largest = 0;
    for (size_t bucket = 1; bucket < starts_.size(); ++bucket) {
      largest = std::max(largest, starts_[bucket]);
      starts_[bucket] += starts_[bucket - 1];
    }
    sorted_.resize(tokens.size());
    for (const uint64_t token : tokens) sorted_[starts_[token >> shift]++] = token;
    if (largest <= 16) return insertion_sort(0, sorted_.size());
    // Now a bucket begins where the one before it ends.
    uint32_t begin = 0;
    for (size_t bucket = 0; bucket + 1 < starts_.size(); ++bucket) {
      const uint32_t end = starts_[bucket];
      std::sort(sorted_.begin() + begin, sorted_.begin() + end);
      begin = end;
    }
  }

  void insertion_sort(size_t begin, size_t end) {
    for (size_t i = begin + 1; i < end; ++i) {
      const uint64_t token = sorted_[i];
      size_t place = i;
      for (; place > begin && sorted_[place - 1] > token; --place) sorted_[place] = sorted_[place - 1];
      sorted_[place] = token;
    }
  }

  std::vector<uint64_t> sorted_;
  std::vector<uint32_t> starts_;
};

// tokens: fmix64 of the sums over n units after one another, or over all where they are fewer.
void hash_shingles(const std::vector<uint64_t>& units, int64_t ngram, std::vector<uint64_t>& tokens) {
  tokens.clear();
  if (units.empty()) return;
  const size_t n = static_cast<size_t>(std::min<int64_t>(ngram, static_cast<int64_t>(units.size())));
  uint64_t sum = 0, leaving = 1;
  for (size_t i = 0; i < n; ++i) sum = sum * base + units[i], leaving *= base;
  tokens.resize(units.size() - n + 1);
  tokens[0] = fmix64(sum) ^ sign;
  for (size_t i = n; i < units.size(); ++i) {
    sum = sum * base + (units[i] - units[i - n] * leaving);
    tokens[i - n + 1] = fmix64(sum) ^ sign;
  }
}

}  // namespace

std::vector<std::vector<int64_t>> shingles(const Texts& texts, const Units& units, int64_t* counts) {
  std::vector<int64_t> begins(1, 0);
  for (int64_t text = 0; text < texts.count; ++text)
    if (texts.offsets[text + 1] - texts.offsets[begins.back()] >= task_bytes || text + 1 - begins.back() >= task_texts)
      begins.push_back(text + 1);
  if (begins.back() != texts.count) begins.push_back(texts.count);
  const size_t tasks = begins.size() - 1;
  std::vector<std::vector<int64_t>> found(tasks);
  const WordBytes word_bytes(units.word_points);
  parallel_tasks_if(tasks > 1, static_cast<int64_t>(tasks), [&](int64_t index) {
    const size_t task = static_cast<size_t>(index);
    Reader reader(texts, units, word_bytes);
    Sorter sorter;
    std::vector<uint64_t> tokens;
    std::vector<int64_t>& out = found[task];
    for (int64_t text = begins[task]; text < begins[task + 1]; ++text) {
      const size_t before = out.size();
      const uint8_t* bytes = texts.bytes;
      hash_shingles(reader.units(bytes + texts.offsets[text], bytes + texts.offsets[text + 1]), units.ngram, tokens);
      if (!tokens.empty()) sorter.append(tokens, out);
      counts[text] = static_cast<int64_t>(out.size() - before);
    }
  });
  return found;
}

}  // namespace warphash::lsh
