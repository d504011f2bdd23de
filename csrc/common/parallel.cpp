// SPDX-License-Identifier: Apache-2.0
#include "common/parallel.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <atomic>
#include <exception>

namespace warphash {

int thread_count() { return std::max<int>(1, static_cast<int>(torch::stable::get_num_threads())); }

void run_tasks(int64_t tasks, void (*body)(void* context, int64_t task), void* context) {
  int64_t workers = std::min<int64_t>(tasks, thread_count());
  if (workers <= 1) {
    for (int64_t task = 0; task < tasks; ++task) body(context, task);
    return;
  }
  // A counter rather than a fixed split: on a busy machine one core may get half of the time of another.
  std::atomic<int64_t> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
  torch::stable::parallel_for(0, workers, 1, [&](int64_t begin, int64_t end) {
    try {
      for (int64_t worker = begin; worker < end; ++worker)
        for (int64_t task; !failed && (task = next.fetch_add(1)) < tasks;) body(context, task);
    } catch (...) {
      if (!failed.exchange(true)) failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace warphash
