// SPDX-License-Identifier: Apache-2.0
// Parallel loops over torch's own threads, so that torch.set_num_threads rules ours too. Torch-free on purpose.
#pragma once

#include <cstdint>

namespace warphash {

// What torch.set_num_threads says.
int thread_count();

// Runs body(context, 0) ... body(context, tasks - 1), each once; threads take the next task as they become free.
void run_tasks(int64_t tasks, void (*body)(void* context, int64_t task), void* context);

template <class Body>
void parallel_tasks(int64_t tasks, Body&& body) {
  run_tasks(tasks, [](void* context, int64_t task) { (*static_cast<Body*>(context))(task); }, &body);
}

}  // namespace warphash
