// Checks for programs that call the fake NVIDIA driver. The first check that fails ends the process.
#pragma once
#include <cstdlib>
#include <iostream>
#include <string>

extern "C" {
// Returns the calls of driver functions since fake_forget(), one on each line of text.
const char* fake_calls();
// Counts the calls whose line begins with `prefix`. A space at the end of `prefix` also matches a line's end.
int fake_count(const char* prefix);
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
