#pragma once
#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../../csrc/cpu/kernels.h"
#include "../../csrc/cpu/team.h"

namespace check {

namespace cpu = pixelrnn::cpu;

// A kernel divides its work into shares. With 0 threads they run one after the other, so no share may wait for another.
struct TeamSize { int shares, threads; };
inline constexpr TeamSize kTeamSizes[] = {{1, 1}, {2, 1}, {2, 2}, {2, 2}, {3, 3}, {3, 2}, {4, 2}, {4, 4}, {3, 0}};

template <class T>
inline constexpr const char* kTypeName = sizeof(T) == 4   ? "float"
                                         : sizeof(T) == 8 ? "double"
                                                          : "bfloat16";

inline int64_t checks = 0;
inline bool short_list = false, best_only = false;

// Returns the levels with kernels of their own for T.
template <class T = float> std::vector<int> levels() {
  std::vector<int> all;
  for (int level = 0; level <= cpu::best_instruction_set(); ++level)
    if (cpu::has_own_kernels<T>(level)) all.push_back(level);
  return best_only ? std::vector<int>{all.back()} : all;
}

inline std::string where = "arguments";

[[noreturn]] inline void fail(const std::string& message) {
  printf("FAILED: %s: %s\n", where.c_str(), message.c_str());
  exit(1);
}

// The argument `short` limits the checks to fewer sizes of problems, for a slow build. The argument `best` limits the
// checks to the best instruction set of this CPU.
inline void read_arguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument != "short" && argument != "best") fail("expected short or best, got " + argument);
    (argument == "short" ? short_list : best_only) = true;
  }
  setvbuf(stdout, nullptr, _IOLBF, 0);
}

// Returns null for an empty buffer. Buffers have no spare memory, so that the address sanitizer sees any access beyond
// their end.
template <class T> const T* data(const std::vector<T>& v) { return v.empty() ? nullptr : v.data(); }
template <class T> T* data(std::vector<T>& v) { return v.empty() ? nullptr : v.data(); }

inline std::mt19937_64 generator(1);
// Returns values of the format T, as numbers of the type of sums.
template <class T> std::vector<cpu::Sum<T>> random(int64_t n, double amplitude) {
  // The expression for a value has a product, but no sum. So no compiler can use a fused multiply-add, and all
  // compilers compute the same numbers.
  std::vector<cpu::Sum<T>> values(n);
  for (auto& value : values) value = T(cpu::Sum<T>(amplitude * ((int64_t(generator()) >> 10) / 9007199254740992.)));
  return values;
}
template <class To, class From> std::vector<To> converted(const std::vector<From>& values) {
  std::vector<To> result;
  result.reserve(values.size());
  for (const From& value : values) result.push_back(To(value));
  return result;
}

// Hashes of the bits of all outputs, by dtype, instruction set and output. test_checks.py compares instruction sets by
// them.
inline std::map<std::string, uint64_t> hashes;
inline constexpr uint64_t kEmptyHash = 14695981039346656037u;
template <class T> uint64_t hash_of(const std::vector<T>& values, uint64_t hash = kEmptyHash) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (size_t i = 0; i < values.size() * sizeof(T); ++i) hash = (hash ^ bytes[i]) * 1099511628211u;
  return hash;
}
template <class T> void add_to_hash(const std::string& name, int level, const std::vector<cpu::Sum<T>>& values) {
  if (values.empty()) return;
  const std::string key = std::string(kTypeName<T>) + " " + cpu::instruction_set_name(level) + " " + name;
  uint64_t& hash = hashes.emplace(key, kEmptyHash).first->second;
  hash = hash_of(values, hash);
}

inline int report() {
  for (const auto& [key, hash] : hashes) printf("hash %016llx %s\n", (unsigned long long)hash, key.c_str());
  printf("%lld checks passed\n", (long long)checks);
  return 0;
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Largest difference between two instruction sets, relative to the output's largest absolute value (but at least 0.1),
// because a small value may be the difference of two large ones.
// Two instruction sets may round a state to different neighbours in bfloat16, which differ by up to 2^-8. A result may
// depend on eight such states.
template <class T> inline constexpr double kTolerance = sizeof(T) == 4 ? 2e-5 : sizeof(T) == 8 ? 1e-13 : 8 / 256.;
template <class T>
void check_close(
    const std::string& name, const std::vector<cpu::Sum<T>>& got, const std::vector<cpu::Sum<T>>& expected) {
  double largest = 0.1;
  for (double value : expected) largest = std::max(largest, std::abs(value));
  for (size_t i = 0; i < expected.size(); ++i) {
    const bool neither = std::isnan(got[i]) && std::isnan(expected[i]);
    if (!neither && !(std::abs(double(got[i]) - expected[i]) <= kTolerance<T> * largest))
      fail(name + "[" + std::to_string(i) + "] is " + std::to_string(got[i]) + ", expected " +
           std::to_string(expected[i]));
  }
  ++checks;
}

template <class T>
void check_same_bits(const std::string& name, const std::vector<T>& got, const std::vector<T>& expected) {
  if (!same_bits(got, expected)) fail("the bits of " + name + " have changed");
  ++checks;
}

template <class T> bool has_nan(const std::vector<T>& values) {
  return std::any_of(values.begin(), values.end(), [](T value) { return std::isnan(value); });
}

inline std::string describe(int level, TeamSize d) {
  return std::string(cpu::instruction_set_name(level)) + ", " + std::to_string(d.shares) + " shares on " +
         std::to_string(d.threads) + " threads";
}

template <class R, class T> struct Output {
  const char* name;
  std::vector<cpu::Sum<T>> R::* values;
  bool is_sum = false;  // a sum over images, whose rounding depends on the number of shares
};

// Calls run(team size, level) for every instruction set and team size. With one share, all instruction sets must give
// close results. On one instruction set, equal numbers of shares must give the same bits. Only sums may depend on the
// number of shares.
template <class R, class T, size_t N, class Run>
void check_teams(const Output<R, T> (&outputs)[N], const std::string& kind, const std::string& name, const Run& run) {
  R reference;
  for (int level : levels<T>()) {
    int last_shares = 0;
    R serial, last;
    for (TeamSize d : kTeamSizes) {
      where = kTypeName<T> + (", " + name + ", ") + describe(level, d);
      const R results = run(d, level);
      if (d.shares == 1) serial = results;
      if (d.shares == 1 && level == levels<T>()[0]) reference = results;
      for (const auto& [output, values, is_sum] : outputs) {
        const auto& got = results.*values;
        if (d.shares == last_shares) check_same_bits(output, got, last.*values);
        else add_to_hash<T>(kind + output, level, got);
        if (d.shares == 1) check_close<T>(output, got, reference.*values);
        if (!is_sum) check_same_bits(output + std::string(", as of one share,"), got, serial.*values);
      }
      last_shares = d.shares, last = results;
    }
  }
}

// Threads that live until the process ends. Under the sanitizers, starting threads took longer than the calls.
class ThreadPool {
 public:
  // Runs work(i) for all i < count at the same time, work(0) on the caller's thread.
  void run(int count, const std::function<void(int)>& work) {
    for (; started_ < count - 1; ++started_)
      std::thread([this, i = started_ + 1, round = round_] { serve(i, round); }).detach();
    {
      std::lock_guard lock(mutex_);
      work_ = &work, count_ = count, working_ = count - 1, ++round_;
    }
    begin_.notify_all();
    work(0);
    std::unique_lock lock(mutex_);
    end_.wait(lock, [&] { return working_ == 0; });
  }

 private:
  void serve(int i, int64_t round) {
    for (std::unique_lock lock(mutex_);;) {
      begin_.wait(lock, [&] { return round_ != round; });
      round = round_;
      if (i >= count_) continue;
      const auto& work = *work_;
      lock.unlock();
      work(i);
      lock.lock();
      if (--working_ == 0) end_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable begin_, end_;
  const std::function<void(int)>* work_ = nullptr;
  int started_ = 0, count_ = 0, working_ = 0;
  int64_t round_ = 0;
};

template <int threads> void run_shares(int shares, void (*body)(void*, int, int), void* context) {
  static ThreadPool& pool = *new ThreadPool;
  const int ranges = std::min(threads, shares);
  pool.run(ranges, [&](int i) noexcept { body(context, shares * i / ranges, shares * (i + 1) / ranges); });
}

inline void run_serially(int shares, void (*body)(void*, int, int), void* context) {
  for (int i = 0; i < shares; ++i) body(context, i, i + 1);
}

inline cpu::Team team(TeamSize d) {
  constexpr decltype(cpu::Team::run) runs[] = {
      run_serially, run_shares<1>, run_shares<2>, run_shares<3>, run_shares<4>};
  if (d.threads >= int(std::size(runs))) fail("no team of " + std::to_string(d.threads) + " threads");
  return {d.shares, runs[d.threads], d.threads > 0};
}

}  // namespace check
