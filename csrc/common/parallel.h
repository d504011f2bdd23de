// SPDX-License-Identifier: Apache-2.0
// Parallel loops over torch's own threads, so that torch.set_num_threads rules ours too. Torch-free on purpose.
#pragma once

#include <cstdint>
#include <type_traits>

namespace warphash {

// What torch.set_num_threads says.
int thread_count();

// Runs body(context, 0) ... body(context, tasks - 1), each once; threads take the next task as they become free. What a
// task throws is thrown again here, the first of several, once all threads have ended theirs; the tasks left are not begun.
void run_tasks(int64_t tasks, void (*body)(void* context, int64_t task), void* context);

template <class Body>
void parallel_tasks(int64_t tasks, Body&& body) {
  using Function = std::remove_reference_t<Body>;
  run_tasks(tasks, [](void* context, int64_t task) { (*static_cast<Function*>(context))(task); }, &body);
}

// As above, but the caller does it all where there is too little work to be worth waking the threads for.
template <class Body>
void parallel_tasks_if(bool worth_it, int64_t tasks, Body&& body) {
  if (worth_it) return parallel_tasks(tasks, body);
  for (int64_t task = 0; task < tasks; ++task) body(task);
}

}  // namespace warphash
