// Checks for programs over the fake driver. The first check that fails ends the process.
#pragma once
#include <cstdlib>
#include <iostream>
#include <string>

// Functions that only the fake driver has.
extern "C" {
const char* fake_calls();            // all calls since the last fake_forget(), one a line
int fake_count(const char* prefix);  // number of calls whose text, with a space added at its end, begins with `prefix`
void fake_forget();
}

template <class Got, class Expected>
void check_equal(const char* file, int line, const char* text, const Got& got, const Expected& expected) {
  if (got == Got(expected)) return;
  const std::string calls = fake_calls();
  const size_t last = calls.size() > 2000 ? calls.find('\n', calls.size() - 2000) + 1 : 0;
  std::cout << file << ":" << line << ": " << text << ": expected " << expected << ", got " << got
            << "\nThe driver's last calls:\n"
            << calls.substr(last);
  std::exit(1);
}
#define EQUAL(got, expected) check_equal(__FILE__, __LINE__, #got, got, expected)
#define SUCCEEDS(call) EQUAL(call, CUDA_SUCCESS)
