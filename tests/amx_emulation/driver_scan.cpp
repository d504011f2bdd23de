// SPDX-License-Identifier: Apache-2.0
// The AMX kernel on the software model of the tiles (WARPHASH_AMX_MODEL), callable from Python: the scan alone with the
// project's own selections, and the whole search. The kernel's file is included, so that its tile state can be looked
// at.
#include "hamming/hamming_amx.cpp"

#include <vector>

#include "driver.h"
#include "hamming/hamming_plan.h"
#include "hamming/hamming_search.h"
#include "hamming/hamming_select.h"

namespace {

using namespace warphash;
using namespace warphash::hamming;

// Takes what the scan offers and checks the rules of the hand-over on the way.
struct CheckedSink {
  Selection& selection;
  int64_t codes;
  std::vector<int64_t> reached;  // the next code that each query may be offered

  static uint32_t offer(void* state, int query, int64_t first, const uint32_t* keys, uint32_t passed) {
    CheckedSink& self = *static_cast<CheckedSink*>(state);
    expect(query >= 0 && query < static_cast<int>(self.reached.size()), "an offer for a query that does not exist");
    expect(passed != 0, "an empty offer");
    expect(first % group_codes == 0 && first >= self.reached[query], "offers out of order");
    expect(first + 31 - __builtin_clz(passed) < self.codes, "a code past the last is offered");
    for (uint32_t rest = passed; rest != 0; rest &= rest - 1)
      expect(keys[__builtin_ctz(rest)] < self.selection.limits[query], "a key that is not below the limit is offered");
    self.reached[query] = first + group_codes;
    const Sink sink = self.selection.sink();
    return sink.offer(sink.state, query, first, keys, passed);
  }
};

void scan_all(Selection& selection, const uint8_t* queries, int query_count, const uint8_t* database, int64_t codes,
              int bytes) {
  const AmxKernels& kernels = kernels_amx();
  const Layout& layout = kernels.bytes;
  const int words = word_count(bytes), tile_codes = layout.tile_codes(words);
  const GuardedCopy rows(database, static_cast<size_t>(codes) * bytes);
  AlignedBuffer padded = padded_words(queries, query_count, bytes);
  AlignedBuffer prepared(layout.prepared_bytes(query_count, words)), tile(layout.tile_bytes(words));
  std::memset(prepared.data(), 0xff, prepared.size());
  layout.prepare(padded.as<uint64_t>(), query_count, words, prepared.data());
  CheckedSink sink = {selection, codes, std::vector<int64_t>(query_count, 0)};
  layout.begin();
  for (int64_t first = 0; first < codes; first += tile_codes) {
    const int count = static_cast<int>(std::min<int64_t>(tile_codes, codes - first));
    std::memset(tile.data(), 0x5a, tile.size());  // what a tile held before must not matter
    layout.arrange(rows.data() + first * bytes, count, bytes, tile.data());
    kernels.scan_distance({tile.data(),
                           count,
                           words,
                           first,
                           prepared.data(),
                           query_count,
                           selection.limits.data(),
                           nullptr,
                           nullptr,
                           {CheckedSink::offer, &sink}});
  }
  layout.end();
}

void write(Selection& selection, int query_count, int64_t width, uint32_t* keys, int64_t* indices, int64_t* counts) {
  for (int query = 0; query < query_count; ++query) {
    std::vector<uint64_t> entries;
    selection.finish(query, entries);
    expect(static_cast<int64_t>(entries.size()) <= width, "more results than were asked for");
    counts[query] = static_cast<int64_t>(entries.size());
    for (size_t i = 0; i < entries.size(); ++i) {
      keys[query * width + i] = static_cast<uint32_t>(entries[i] >> 32);
      indices[query * width + i] = static_cast<int64_t>(entries[i] & 0xffffffffu);
    }
  }
}

}  // namespace

ENTRY int amx_tile_codes(int bytes) { return kernels_amx().bytes.tile_codes(word_count(bytes)); }

// keys, indices [query_count, k], of which counts [query_count] are filled
ENTRY void amx_topk(const uint8_t* queries, int query_count, const uint8_t* database, int64_t codes, int bytes,
                    int64_t k, uint32_t* keys, int64_t* indices, int64_t* counts) {
  if (k <= 40) {
    SortedSelection selection(query_count, k);
    scan_all(selection, queries, query_count, database, codes, bytes);
    return write(selection, query_count, k, keys, indices, counts);
  }
  CountingSelection selection(query_count, k, static_cast<uint32_t>(8 * bytes + 1));
  scan_all(selection, queries, query_count, database, codes, bytes);
  write(selection, query_count, k, keys, indices, counts);
}

// As amx_topk with k = codes: everything below the limit.
ENTRY void amx_range(const uint8_t* queries, int query_count, const uint8_t* database, int64_t codes, int bytes,
                     uint32_t limit, uint32_t* keys, int64_t* indices, int64_t* counts) {
  RangeSelection selection(query_count, limit);
  scan_all(selection, queries, query_count, database, codes, bytes);
  write(selection, query_count, codes, keys, indices, counts);
}

// The whole search on two threads, by AMX or by AVX-512: masks, parts, merging. mask: null, [codes] or [query_count,
// codes].
ENTRY void search_topk(int amx, const uint8_t* queries, int query_count, const uint8_t* database, int64_t codes,
                       int bytes, int64_t k, const uint8_t* mask, int mask_per_query, uint32_t* keys, int64_t* indices,
                       int64_t* counts) {
  struct Output {
    uint32_t* keys;
    int64_t *indices, *counts, k;
  } output = {keys, indices, counts, k};
  const Problem problem = {queries, nullptr, query_count, database, codes, bytes, mask, mask_per_query != 0};
  const Choice choice = {&kernels_avx512(), amx != 0 ? &kernels_amx() : nullptr};
  topk(
      choice, Metric::distance, problem, k,
      [](void* context, int64_t query, const Hit* hits, int64_t count) {
        const Output& out = *static_cast<Output*>(context);
        out.counts[query] = count;
        for (int64_t i = 0; i < count; ++i) {
          out.keys[query * out.k + i] = hits[i].key;
          out.indices[query * out.k + i] = hits[i].index;
        }
      },
      &output);
}

// What the model must refuse: misuse 0 scans before begin(), 1 after end(), 2 stores a tile that is not configured,
// 3 multiplies tiles whose shapes do not fit, 4 loads a configuration with too many rows.
ENTRY void amx_misuse(int misuse) {
  alignas(64) static uint8_t memory[amx::tile_bytes];
  amx::TileConfiguration configuration = amx::full_tiles();
  const Layout& layout = kernels_amx().bytes;
  switch (misuse) {
    case 0: amx::load_tile<0>(memory); break;
    case 1:
      layout.begin();
      layout.end();
      amx::dot_tiles<0, 4, 6>();
      break;
    case 2:
      configuration.rows[3] = configuration.row_bytes[3] = 0;
      amx::configure_tiles(configuration);
      amx::store_tile<3>(memory);
      break;
    case 3:
      configuration.rows[6] = 8;
      amx::configure_tiles(configuration);
      amx::dot_tiles<0, 4, 6>();
      break;
    default:
      configuration.rows[0] = 17;
      amx::configure_tiles(configuration);
      break;
  }
}
