// SPDX-License-Identifier: Apache-2.0
// Runs the probe loops: threads that start together, samples of a fixed length, the best rate but one.
#include "common/probes.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#include "common/isa.h"

namespace warphash::probes {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int samples = 7;
constexpr double sample_seconds = 0.01;
constexpr size_t huge_page = size_t{2} << 20;
constexpr size_t block = 1024;  // what the loops' sizes are multiples of

// Values that the loops return end here, so that no loop can be thought useless.
std::atomic<uint64_t> consumed{0};

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// The best rate but one: a roof is what the machine can do, others' work on it only lowers a sample, and a single sample
// may be a slip of the clock.
double attainable(std::vector<double> rates) {
  std::sort(rates.begin(), rates.end());
  return rates[rates.size() - 2];
}

// work(thread, rounds) on every thread at once, from a common start to the last one's end: rounds a second of all
// threads together. The number of rounds is found first so that a sample takes about sample_seconds.
double rounds_per_second(int threads, const std::function<void(int, int64_t)>& work) {
  int64_t rounds = 1;
  for (double took = 0; took < sample_seconds / 4; rounds *= 2) {
    const auto start = Clock::now();
    work(0, rounds);
    took = seconds(Clock::now() - start);
    if (took >= sample_seconds / 4) {
      rounds = std::max<int64_t>(1, static_cast<int64_t>(static_cast<double>(rounds) * sample_seconds / took));
      break;
    }
  }
  std::vector<Clock::time_point> starts(static_cast<size_t>(threads) * samples), ends(starts.size());
  std::barrier together(threads);
  const auto body = [&](int thread) {
    work(thread, rounds);  // warms the thread's caches and clock up
    for (int sample = 0; sample < samples; ++sample) {
      const size_t slot = static_cast<size_t>(sample) * threads + thread;
      together.arrive_and_wait();
      starts[slot] = Clock::now();
      work(thread, rounds);
      ends[slot] = Clock::now();
    }
  };
  std::vector<std::thread> others;
  others.reserve(static_cast<size_t>(threads));
  // Nobody begins before all are there: a thread that cannot be started must not leave others at the barrier.
  enum { waiting, run, give_up };
  std::atomic<int> order{waiting};
  const auto join = [&] {
    for (std::thread& other : others) other.join();
  };
  try {
    for (int thread = 1; thread < threads; ++thread)
      others.emplace_back([&, thread] {
        order.wait(waiting);
        if (order == run) body(thread);
      });
  } catch (const std::system_error& error) {
    order = give_up;
    order.notify_all();
    const size_t started = others.size() + 1;
    join();
    throw std::runtime_error("threads: the system started " + std::to_string(started) + " of " +
                             std::to_string(threads) + ": " + error.what());
  }
  order = run;
  order.notify_all();
  body(0);
  join();
  std::vector<double> rates;
  for (int sample = 0; sample < samples; ++sample) {
    const auto first = starts.begin() + static_cast<ptrdiff_t>(sample) * threads;
    const auto last = ends.begin() + static_cast<ptrdiff_t>(sample) * threads;
    const double took = seconds(*std::max_element(last, last + threads) - *std::min_element(first, first + threads));
    rates.push_back(static_cast<double>(rounds) * threads / took);
  }
  return attainable(rates);
}

double loop_rate(const Loop& loop, int threads) {
  if (loop.run == nullptr) return absent;
  return loop.units_per_round * rounds_per_second(threads, [&](int, int64_t rounds) { consumed += loop.run(rounds); });
}

// Large pages keep address translation out of the limit; the kernel may refuse them, which costs nothing but speed.
struct Free {
  void operator()(char* data) const { std::free(data); }
};
using Buffer = std::unique_ptr<char, Free>;

Buffer make_buffer(size_t bytes) {
  const size_t page = bytes >= huge_page ? huge_page : 4096;
  char* data = static_cast<char*>(std::aligned_alloc(page, (bytes + page - 1) / page * page));
  if (data == nullptr) throw std::bad_alloc();
  if (page == huge_page) madvise(data, bytes, MADV_HUGEPAGE);
  std::fill_n(data, bytes, char{1});
  return Buffer(data);
}

const Loops& best_loops() {
  switch (machine_isa()) {
    case Isa::scalar: return loops_scalar();
    case Isa::avx2: return loops_avx2();
    default: return loops_avx512();
  }
}

// Bytes a second of a loop over a buffer, each thread in its own piece.
double bandwidth(size_t bytes, int threads, const std::function<void(char*, size_t)>& pass) {
  const size_t piece = std::max(block, bytes / static_cast<size_t>(threads) / block * block);
  const Buffer buffer = make_buffer(piece * static_cast<size_t>(threads));
  const double rate = rounds_per_second(threads, [&](int thread, int64_t rounds) {
    for (int64_t round = 0; round < rounds; ++round) pass(buffer.get() + piece * static_cast<size_t>(thread), piece);
  });
  return rate * static_cast<double>(piece);
}

// Random rows of a table, so many that they reach each of its lines, and not so few that a core could learn them. Threads
// begin at different ones and go round.
class Places {
 public:
  static constexpr size_t step = 4096, ahead = 32;

  explicit Places(size_t rows) : count_(std::max<size_t>(size_t{1} << 18, (rows / 4 + step - 1) / step * step)) {
    rows_.resize(count_ + ahead);
    uint64_t state = 88172645463325252u;
    for (uint32_t& row : rows_) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      row = static_cast<uint32_t>((state >> 32) * rows >> 32);
    }
  }

  // Places a second of all threads, where work(thread, places) does `step` of them.
  template <class Work>
  double rate(int threads, const Work& work) const {
    const size_t steps = count_ / step;
    std::vector<size_t> next(static_cast<size_t>(threads));
    for (size_t thread = 0; thread < next.size(); ++thread) next[thread] = steps * thread / next.size();
    const double rounds = rounds_per_second(threads, [&](int thread, int64_t rounds) {
      size_t at = next[static_cast<size_t>(thread)];
      for (int64_t round = 0; round < rounds; ++round) {
        work(thread, rows_.data() + at * step);
        at = at + 1 == steps ? 0 : at + 1;
      }
      next[static_cast<size_t>(thread)] = at;
    });
    return rounds * static_cast<double>(step);
  }

 private:
  size_t count_;
  std::vector<uint32_t> rows_;
};

}  // namespace

int most_threads() { return std::max(64, 4 * static_cast<int>(std::thread::hardware_concurrency())); }

double core_clock() {
  const auto chain = [](int, int64_t rounds) {
    uint64_t x = 1;
    for (int64_t round = 0; round < rounds; ++round)
      asm volatile(
          "add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0\n add $1, %0"
          : "+r"(x)
          :
          : "cc");
    consumed += x;
  };
  return 8 * rounds_per_second(1, chain);
}

double read_bandwidth(size_t bytes, int threads) {
  const auto read = best_loops().read;
  return bandwidth(bytes, threads, [&](char* data, size_t size) { consumed += read(data, size); });
}

double write_bandwidth(size_t bytes, int threads) {
  const Loops& loops = best_loops();
  const double through = bandwidth(bytes, threads, loops.write);
  return loops.write_around == nullptr ? through : std::max(through, bandwidth(bytes, threads, loops.write_around));
}

double gather_rate(size_t bytes, int threads) {
  constexpr size_t line = 64;
  constexpr int64_t reads = 1 << 14;
  const uint64_t lines = std::max<uint64_t>(1, bytes / line);
  const Buffer buffer = make_buffer(lines * line);
  const double rate = rounds_per_second(threads, [&](int thread, int64_t rounds) {
    // Places come from a counter, not from what was read, so that as many reads are under way as the core allows.
    uint64_t state = static_cast<uint64_t>(Clock::now().time_since_epoch().count()) + static_cast<uint64_t>(thread);
    uint64_t sum = 0;
    for (int64_t i = 0; i < rounds * reads; ++i) {
      state += 0x9e3779b97f4a7c15u;
      const uint64_t mixed = (state ^ state >> 31) * 0xbf58476d1ce4e5b9u;
      const uint64_t place = static_cast<uint64_t>(static_cast<unsigned __int128>(mixed) * lines >> 64);
      sum += *reinterpret_cast<const uint64_t*>(buffer.get() + place * line);
    }
    consumed += sum;
  });
  return rate * static_cast<double>(reads);
}

double row_gather_rate(size_t bytes, int threads) {
  const size_t rows = std::max<size_t>(1, bytes / 8);
  const Buffer table = make_buffer(rows * 8);
  const Places places(rows);
  std::vector<decltype(Loops::gather_rows)> ways = {loops_scalar().gather_rows};
  if (machine_isa() >= Isa::avx2) ways.push_back(loops_avx2().gather_rows);
  if (machine_isa() >= Isa::avx512) ways.push_back(loops_avx512().gather_rows);
  double best = 0;
  for (const auto gather : ways)
    best = std::max(best, places.rate(threads, [&](int, const uint32_t* some) {
      consumed += gather(table.get(), some, Places::step);
    }));
  return best;
}

double row_update_rate(size_t bytes, int threads) {
  const size_t rows = std::max<size_t>(1, bytes / 8);
  std::vector<Buffer> tables;
  for (int thread = 0; thread < threads; ++thread) tables.push_back(make_buffer(rows * 8));
  const Places places(rows);
  const auto update = [&](auto ahead) {
    return places.rate(threads, [&](int thread, const uint32_t* some) {
      typedef float Pair __attribute__((vector_size(8)));
      Pair* table = reinterpret_cast<Pair*>(tables[static_cast<size_t>(thread)].get());
      const Pair one = {1e-3f, 1e-3f};
      for (size_t i = 0; i < Places::step; ++i) {
        if constexpr (ahead) __builtin_prefetch(table + some[i + Places::ahead], 1);
        table[some[i]] = table[some[i]] + one;
      }
    });
  };
  return std::max(update(std::true_type{}), update(std::false_type{}));
}

double touch_bandwidth(size_t bytes, int threads) {
  const size_t piece = std::max(block, bytes / static_cast<size_t>(threads) / block * block);
  // Room for a beginning on a large page's boundary.
  const size_t taken = piece + (piece >= huge_page ? huge_page : 0);
  std::atomic<bool> refused{false};
  const auto write = best_loops().write;
  const double rate = rounds_per_second(threads, [&](int, int64_t rounds) {
    for (int64_t round = 0; round < rounds; ++round) {
      void* memory = mmap(nullptr, taken, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (memory == MAP_FAILED) {
        refused = true;
        return;
      }
      char* data = static_cast<char*>(memory);
      if (taken > piece) {
        data += (huge_page - reinterpret_cast<uintptr_t>(data) % huge_page) % huge_page;
        madvise(data, piece, MADV_HUGEPAGE);
      }
      write(data, piece);
      munmap(memory, taken);
    }
  });
  if (refused) throw std::bad_alloc();
  return rate * static_cast<double>(piece);
}

double accumulate_rate(size_t bytes, int threads) {
  const size_t columns = std::max<size_t>(1, bytes / sizeof(float));
  const Places places(columns);
  std::vector<float> values(Places::step, 1e-3f);
  std::vector<Buffer> sums, flags;
  for (int thread = 0; thread < threads; ++thread) {
    sums.push_back(make_buffer(columns * sizeof(float)));
    flags.push_back(make_buffer(columns));
    std::fill_n(reinterpret_cast<float*>(sums.back().get()), columns, 0.0f);
  }
  return places.rate(threads, [&](int thread, const uint32_t* some) {
    float* __restrict__ sum = reinterpret_cast<float*>(sums[static_cast<size_t>(thread)].get());
    char* __restrict__ flag = flags[static_cast<size_t>(thread)].get();
    const float* value = values.data();
    // Columns of a row differ, so that a kernel may read four sums before it writes one.
    for (size_t i = 0; i < Places::step; i += 4) {
      const size_t a = some[i], b = some[i + 1], c = some[i + 2], d = some[i + 3];
      const float at_a = sum[a] + 0.5f * value[i], at_b = sum[b] + 0.5f * value[i + 1];
      const float at_c = sum[c] + 0.5f * value[i + 2], at_d = sum[d] + 0.5f * value[i + 3];
      sum[a] = at_a, sum[b] = at_b, sum[c] = at_c, sum[d] = at_d;
      flag[a] = flag[b] = flag[c] = flag[d] = 1;
    }
  });
}

double unit_rate(Unit unit, int threads) {
  const Isa isa = machine_isa();
  switch (unit) {
    case Unit::popcount_portable: return loop_rate(loops_scalar().popcount, threads);
    case Unit::popcount_word: return isa >= Isa::avx2 ? loop_rate(loops_avx2().popcount_words, threads) : absent;
    case Unit::distance_avx2: return isa >= Isa::avx2 ? loop_rate(loops_avx2().popcount, threads) : absent;
    case Unit::popcount_avx512: return isa >= Isa::avx512 ? loop_rate(loops_avx512().popcount, threads) : absent;
    case Unit::distance_word: return isa >= Isa::avx2 ? loop_rate(loops_avx2().distance, threads) : absent;
    case Unit::distance_avx512: return isa >= Isa::avx512 ? loop_rate(loops_avx512().distance, threads) : absent;
    case Unit::multiply_add: return loop_rate(best_loops().multiply_add, threads);
    case Unit::affine_min: return loop_rate(best_loops().affine_min, threads);
    case Unit::int8_avx512:
      return isa >= Isa::avx512 && __builtin_cpu_supports("avx512vnni") ? loop_rate(loops_avx512().int8_dot, threads)
                                                                        : absent;
    case Unit::int8_amx: return isa >= Isa::amx && amx_permitted() ? loop_rate(int8_dot_amx(), threads) : absent;
  }
  return absent;
}

}  // namespace warphash::probes
