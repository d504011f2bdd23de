// SPDX-License-Identifier: Apache-2.0
// Schema of shingles and its CPU entry; text lies in the host's memory, so there is no other.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <numeric>
#include <tuple>

#include "common/checks.h"
#include "common/parallel.h"
#include "lsh/text/text.h"

namespace warphash::lsh {
namespace {

Tensor row(const Tensor& x, ScalarType type, const char* name, const char* expected) {
  STD_TORCH_CHECK(x.dim() == 1 && x.scalar_type() == type, name, " must be ", expected, " with 1 dimension");
  return torch::stable::contiguous(x);
}

std::tuple<Tensor, Tensor> shingles_cpu(const Tensor& given_text, const Tensor& given_offsets,
                                        const Tensor& given_points, int64_t ngram, bool words) {
  const Tensor text = row(given_text, ScalarType::Byte, "text", "uint8");
  const Tensor offsets = row(given_offsets, ScalarType::Long, "offsets", "int64");
  const Tensor points = row(given_points, ScalarType::Byte, "word_points", "uint8");
  STD_TORCH_CHECK(offsets.size(0) >= 1, "offsets must have an entry for each text and one more");
  STD_TORCH_CHECK(points.size(0) == code_points / 8, "word_points must have ", code_points / 8, " bytes, got ",
                  points.size(0));
  STD_TORCH_CHECK(ngram >= 1, "ngram must be at least 1, got ", ngram);
  const int64_t texts = offsets.size(0) - 1;
  const int64_t* ends = offsets.const_data_ptr<int64_t>();
  STD_TORCH_CHECK(ends[0] == 0 && ends[texts] == text.size(0) && std::is_sorted(ends, ends + texts + 1),
                  "offsets must ascend from 0 to the number of bytes, ", text.size(0));
  Tensor bounds = empty_on_cpu({texts + 1}, ScalarType::Long);
  int64_t* starts = bounds.mutable_data_ptr<int64_t>();
  starts[0] = 0;
  const auto pieces = shingles({text.const_data_ptr<uint8_t>(), text.size(0), ends, texts},
                               {words, points.const_data_ptr<uint8_t>(), ngram}, starts + 1);
  std::partial_sum(starts, starts + texts + 1, starts);
  Tensor tokens = empty_on_cpu({starts[texts]}, ScalarType::Long);
  int64_t* to = tokens.mutable_data_ptr<int64_t>();
  std::vector<int64_t*> places;
  for (const auto& piece : pieces) places.push_back(to), to += piece.size();
  parallel_tasks_if(pieces.size() > 1, static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    const auto& piece = pieces[static_cast<size_t>(i)];
    std::copy(piece.begin(), piece.end(), places[static_cast<size_t>(i)]);
  });
  return {tokens, bounds};
}

}  // namespace

STABLE_TORCH_LIBRARY_FRAGMENT(warphash, m) {
  m.def("lsh_shingles(Tensor text, Tensor offsets, Tensor word_points, int ngram, bool words) -> (Tensor, Tensor)");
}

STABLE_TORCH_LIBRARY_IMPL(warphash, CPU, m) { m.impl("lsh_shingles", TORCH_BOX(&shingles_cpu)); }

}  // namespace warphash::lsh
