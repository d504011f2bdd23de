// SPDX-License-Identifier: Apache-2.0
// A stable pass: every item to where its digit's items begin, plus how many of them come before it. All tables go in one
// launch; a tile belongs to one table.
//
// Bound: memory. In counting, 2 bytes of a code are read and 16 of order and inverse written; in a radix pass, 8 and 8.
// A tile is taken by ticket. Its warps rank their runs of items by ballots, without atomics, so that skewed digits cost
// what even ones do. For each digit a thread looks back over the tiles before until one knows its running count; the word
// that says so holds the count too, so that relaxed loads do. Items are put in order in shared memory first, so that those
// of a digit leave as one run.
#include <type_traits>

#include "lsh/buckets/digits.cuh"

namespace warphash::lsh {
namespace {

// A tile's word for a digit: nothing yet, its own count, or the count up to and including it.
template <class Word>
struct State {
  static constexpr int shift = sizeof(Word) * 8 - 2;
  static constexpr Word own = Word(1) << shift, running = Word(2) << shift, count = own - 1;
};

// Lanes with the caller's digit. Four bits at a time: those beyond `bits` are zeros, which all lanes share.
__device__ __forceinline__ unsigned match_digit(unsigned digit, int bits, unsigned among) {
#pragma unroll 1
  for (; bits > 0; bits -= 4, digit >>= 4) {
#pragma unroll
    for (int bit = 0; bit < 4; ++bit) {
      const bool is_set = digit >> bit & 1;
      const unsigned votes = __ballot_sync(all_lanes, is_set);
      among &= ~(votes ^ (is_set ? all_lanes : 0));
    }
  }
  return among;
}

constexpr size_t entries_bytes(bool counting) { return size_t{tile_items} * (counting ? sizeof(unsigned) : 8); }
// Counters of warps first; then, in the same place, the tile's items in order and where each digit's begin.
constexpr size_t counters_bytes(bool counting, int digits) {
  const size_t counters = size_t(place_warps) * digits * sizeof(uint16_t);
  const size_t after = entries_bytes(counting) + size_t(digits) * sizeof(int64_t);
  return ((counters > after ? counters : after) + 15) / 16 * 16;
}
constexpr size_t shared_bytes(bool counting, int digits) {
  return counters_bytes(counting, digits) + size_t(digits) * sizeof(uint16_t);
}

template <bool from_codes, bool to_order, class Word>
__global__ void __launch_bounds__(place_threads, 2) place(const __grid_constant__ Pass pass) {
  constexpr bool counting = from_codes && to_order;
  using Key = std::conditional_t<counting, unsigned, Record>;
  using Is = State<Word>;
  constexpr int look_back_digits =
      counting ? 4 : 1;  // of a thread at once, to wait for memory once; all, if not counting
  DYNAMIC_SHARED(unsigned char, memory);
  __shared__ unsigned warp_counts[place_warps];
  __shared__ Code ticket;
  uint16_t* const counters = reinterpret_cast<uint16_t*>(memory);  // [place_warps, digits]
  Key* const entries = reinterpret_cast<Key*>(memory);             // [tile_items]; counting: digit << 16 | item
  int64_t* const bases = reinterpret_cast<int64_t*>(memory + entries_bytes(counting));  // [digits]
  uint16_t* const starts = reinterpret_cast<uint16_t*>(memory + counters_bytes(counting, pass.digits));
  Word* const states = static_cast<Word*>(pass.states);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, digits = pass.digits;
  const unsigned mask = (1u << pass.bits) - 1;
  const Code tiles_a_table = Code((pass.items + tile_items - 1) / tile_items);
  const auto digit_of = [&](Key key) {
    if constexpr (counting)
      return key;
    else
      return unsigned(key >> (pass.index_bits + pass.shift)) & mask;
  };

  for (;;) {
    if (threadIdx.x == 0) ticket = atomicAdd(pass.tickets, 1ull);
    for (int i = threadIdx.x; i < place_warps * digits / 2; i += place_threads)
      reinterpret_cast<unsigned*>(counters)[i] = 0;
    __syncthreads();
    const Code tile = ticket;
    if (tile >= Code(pass.tables) * tiles_a_table) return;  // all threads
    const int64_t table = int64_t(tile / tiles_a_table), tile_start = int64_t(tile % tiles_a_table) * tile_items;
    const int64_t row = table * pass.items;
    const int count = int(min(int64_t(tile_items), pass.items - tile_start));
    const int run = (count + place_threads - 1) / place_threads * 32;  // items of a warp
    const int begin = warp * run + lane, end = min((warp + 1) * run, count);

    Key keys[own_items];
    if constexpr (from_codes) {
      load_codes(pass.codes, pass.bytes, row + tile_start, begin, 32, end, pass.last, keys);
      if constexpr (!counting) {
#pragma unroll
        for (int j = 0; j < own_items; ++j)
          if (begin + 32 * j < end) keys[j] = keys[j] << pass.index_bits | Record(tile_start + begin + 32 * j);
      }
    } else {
#pragma unroll
      for (int j = 0; j < own_items; ++j)
        if (begin + 32 * j < end) keys[j] = __ldcs(pass.records + row + tile_start + begin + 32 * j);
    }

    // Ranks among the warp's items of the same digit.
    unsigned places[own_items];
    uint16_t* const own_counters = counters + warp * digits;
#pragma unroll
    for (int j = 0; j < own_items; ++j) {
      if (warp * run + 32 * j >= end) break;  // the whole warp
      const bool is_item = begin + 32 * j < end;
      const unsigned digit = is_item ? digit_of(keys[j]) : 0;
      const unsigned among = __ballot_sync(all_lanes, is_item);
      const unsigned peers = match_digit(digit, pass.bits, among);
      const int first = is_item ? __ffs(int(peers)) - 1 : lane;
      unsigned before = 0;
      if (is_item && lane == first) {
        before = own_counters[digit];
        own_counters[digit] = uint16_t(before + __popc(peers));
      }
      places[j] = __shfl_sync(all_lanes, before, first) + __popc(peers & ((1u << lane) - 1));
      __syncwarp();  // another lane may be the next to count this digit
    }
    __syncthreads();

    // A warp has a run of digits, a lane every 32nd of them. Counts become what the warps before have, and are told to
    // the tiles behind; `starts` is where a digit's items begin within the tile.
    const int digit_run = (digits + place_threads - 1) / place_threads * 32;
    const int first_digit = warp * digit_run + lane;
    unsigned sum = 0;
    for (int k = 0; k < digit_run; k += 32) {
      const int digit = first_digit + k;
      unsigned own = 0;
      if (digit < digits) {
#pragma unroll
        for (int w = 0; w < place_warps; ++w) {
          const unsigned counted = counters[w * digits + digit];
          counters[w * digits + digit] = uint16_t(own);
          own += counted;
        }
        store_relaxed(states + tile * digits + digit, (tile_start == 0 ? Is::running : Is::own) | Word(own));
      }
      unsigned inclusive = own;
#pragma unroll
      for (int step = 1; step < 32; step *= 2) {
        const unsigned left = __shfl_up_sync(all_lanes, inclusive, step);
        if (lane >= step) inclusive += left;
      }
      if (digit < digits) starts[digit] = uint16_t(sum + inclusive - own);
      sum += __shfl_sync(all_lanes, inclusive, 31);
    }
    if (lane == 0) warp_counts[warp] = sum;
    __syncthreads();
    unsigned before_warp = 0;
    for (int w = 0; w < warp; ++w) before_warp += warp_counts[w];
    for (int k = 0; k < digit_run; k += 32)
      if (first_digit + k < digits) starts[first_digit + k] += uint16_t(before_warp);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < own_items; ++j)
      if (begin + 32 * j < end) {
        const unsigned digit = digit_of(keys[j]);
        places[j] += starts[digit] + counters[warp * digits + digit];
      }
    __syncthreads();  // counters are done with
#pragma unroll
    for (int j = 0; j < own_items; ++j)
      if (begin + 32 * j < end) {
        if constexpr (counting)
          entries[places[j]] = keys[j] << 16 | unsigned(begin + 32 * j);
        else
          entries[places[j]] = keys[j];
      }

    for (int k = 0; k < digit_run; k += 32 * look_back_digits) {
      Code prefix[look_back_digits];
      unsigned waiting = 0;
#pragma unroll
      for (int g = 0; g < look_back_digits; ++g) {
        prefix[g] = 0;
        if (tile_start > 0 && k + 32 * g < digit_run && first_digit + k + 32 * g < digits) waiting |= 1u << g;
      }
      const unsigned looking = waiting;
      Code back[look_back_digits];
#pragma unroll
      for (int g = 0; g < look_back_digits; ++g) back[g] = tile - 1;
      while (waiting != 0) {
        Word words[look_back_digits];
#pragma unroll
        for (int g = 0; g < look_back_digits; ++g)
          if (waiting >> g & 1) words[g] = load_relaxed(states + back[g] * digits + first_digit + k + 32 * g);
#pragma unroll
        for (int g = 0; g < look_back_digits; ++g)
          if ((waiting >> g & 1) && words[g] > Is::count) {
            prefix[g] += words[g] & Is::count;
            --back[g];
            if (words[g] >= Is::running) waiting &= ~(1u << g);
          }
      }
#pragma unroll
      for (int g = 0; g < look_back_digits; ++g) {
        const int digit = first_digit + k + 32 * g;
        if (k + 32 * g >= digit_run || digit >= digits) continue;
        const unsigned start = starts[digit];
        if (looking >> g & 1) {
          const unsigned own = (digit + 1 < digits ? unsigned(starts[digit + 1]) : unsigned(count)) - start;
          store_relaxed(states + tile * digits + digit, Is::running | Word(prefix[g] + own));
        }
        bases[digit] = pass.starts[table * pass.start_stride + digit] + int64_t(prefix[g]) - start;
      }
    }
    __syncthreads();

    for (int i = threadIdx.x; i < count; i += place_threads) {
      const Key entry = entries[i];
      if constexpr (counting) {
        pass.order[row + bases[entry >> 16] + i] = tile_start + (entry & 0xffff);
      } else {
        const int64_t place = bases[digit_of(entry)] + i;
        if constexpr (to_order) {
          const int64_t index = int64_t(entry & ((Record(1) << pass.index_bits) - 1));
          pass.order[row + place] = index;
          if (pass.inverse != nullptr) pass.inverse[row + index] = place;
          if (pass.sorted != nullptr) pass.sorted[row + place] = unsigned(entry >> pass.index_bits);
        } else {
          pass.to_records[row + place] = entry;
        }
      }
    }
    if constexpr (counting) {
      if (pass.inverse != nullptr) {
#pragma unroll
        for (int j = 0; j < own_items; ++j)
          if (begin + 32 * j < end)
            pass.inverse[row + tile_start + begin + 32 * j] = bases[keys[j]] + int64_t(places[j]);
      }
    }
    __syncthreads();  // before the next tile's counters
  }
}

template <bool from_codes, bool to_order, class Word>
cudaError_t launch_place(const Pass& pass, cudaStream_t stream) {
  const auto kernel = place<from_codes, to_order, Word>;
  const size_t bytes = shared_bytes(from_codes && to_order, pass.digits);
  const cudaError_t error =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  if (error != cudaSuccess) return error;
  const int64_t tiles = pass.tables * ceil_divide(pass.items, tile_items);
  return launch(kernel, dim3(static_cast<unsigned>(clamp(tiles, 1, most_blocks))), dim3(place_threads), bytes, stream,
                pass);
}

template <class Word>
cudaError_t launch_place_with(const Pass& pass, cudaStream_t stream) {
  const bool from_codes = pass.records == nullptr, to_order = pass.to_records == nullptr;
  if (from_codes)
    return to_order ? launch_place<true, true, Word>(pass, stream) : launch_place<true, false, Word>(pass, stream);
  return to_order ? launch_place<false, true, Word>(pass, stream) : launch_place<false, false, Word>(pass, stream);
}

}  // namespace

cudaError_t place_items(const Pass& pass, cudaStream_t stream) {
  return has_narrow_states(pass.items) ? launch_place_with<unsigned>(pass, stream)
                                       : launch_place_with<unsigned long long>(pass, stream);
}

}  // namespace warphash::lsh
