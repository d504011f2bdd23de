// SPDX-License-Identifier: Apache-2.0
#include "hashgrid/hashgrid_grid.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <unordered_map>

namespace warphash::hashgrid {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument("grid: " + what); }

// Words and numbers of the text, one after the other.
class Reader {
 public:
  explicit Reader(const std::string& text) : at_(text.data()), end_(text.data() + text.size()) {}

  bool done() const { return at_ == end_; }
  void expect(char c) {
    if (done() || *at_ != c) refuse(std::string("expected '") + c + "'");
    ++at_;
  }
  std::string word() {
    const char* stop = std::find_if(at_, end_, [](char c) { return c == ' ' || c == ';'; });
    std::string found(at_, stop);
    at_ = stop;
    return found;
  }
  template <class T>
  T number() {
    T value{};
    const auto [stop, error] = std::from_chars(at_, end_, value);
    if (error != std::errc()) refuse("expected a number");
    at_ = stop;
    return value;
  }

 private:
  const char* at_;
  const char* end_;
};

Level read_level(Reader& reader, int dims, bool hash, int64_t offset) {
  Level level{};
  double vertices = 1;
  uint32_t stride = 1;
  for (int axis = 0; axis < dims; ++axis) {
    const double scale = level.scale[axis] = reader.number<double>();
    if (!(scale >= 0 && scale < 2147483647.0)) refuse("a scale is out of range");
    const double resolution = std::ceil(scale) + 1;
    vertices *= resolution;
    level.multiplier[axis] = stride;
    stride *= static_cast<uint32_t>(resolution);
    reader.expect(' ');
  }
  const int64_t rows = reader.number<int64_t>();
  if (rows < 1 || rows > int64_t{1} << 31) refuse("a level has too many rows or none");
  level.rows = static_cast<uint32_t>(rows);
  level.offset = offset;
  level.hashed = hash && static_cast<double>(rows) < vertices;
  if (level.hashed) {
    if ((rows & (rows - 1)) != 0) refuse("rows of a hashed level must be a power of two");
    std::copy(primes, primes + most_dims, level.multiplier);
  }
  return level;
}

Grid read_grid(const std::string& text) {
  Reader reader(text);
  Grid grid;
  const std::string kind = reader.word();
  if (kind != "hash" && kind != "dense" && kind != "tiled") refuse("unknown kind '" + kind + "'");
  reader.expect(' ');
  const std::string interpolation = reader.word();
  if (interpolation == "nearest") {
    grid.interpolation = Interpolation::nearest;
  } else if (interpolation == "smoothstep") {
    grid.interpolation = Interpolation::smoothstep;
  } else if (interpolation != "linear") {
    refuse("unknown interpolation '" + interpolation + "'");
  }
  reader.expect(' ');
  grid.dims = reader.number<int>();
  if (grid.dims < 1 || grid.dims > most_dims) refuse("dims out of range");
  while (!reader.done()) {
    reader.expect(';');
    grid.levels.push_back(read_level(reader, grid.dims, kind == "hash", grid.rows));
    grid.rows += grid.levels.back().rows;
  }
  if (grid.levels.empty()) refuse("no levels");
  if (grid.rows > int64_t{1} << 31) refuse("too many rows");
  return grid;
}

// Not static in grid_of: the CUDA emulation takes such variables for a block's shared memory.
std::mutex known_mutex;
std::unordered_map<std::string, std::unique_ptr<const Grid>> known;

}  // namespace

double Grid::largest_coordinate(double largest) const {
  double finest = 0;
  for (const Level& level : levels) finest = std::max(finest, *std::max_element(level.scale, level.scale + dims));
  return largest / (2 * (finest + 1));
}

const Grid& grid_of(const std::string& text) {
  const std::lock_guard<std::mutex> lock(known_mutex);
  std::unique_ptr<const Grid>& grid = known[text];
  if (!grid) {
    try {
      grid = std::make_unique<const Grid>(read_grid(text));
    } catch (...) {
      known.erase(text);
      throw;
    }
  }
  return *grid;
}

}  // namespace warphash::hashgrid
