// Checks for programs over the fake driver. The first check that fails ends the process.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>

// Functions that only the fake driver has.
extern "C" {
const char* fake_calls();            // all calls since the last fake_forget(), one a line
int fake_count(const char* prefix);  // number of calls whose text has this prefix; a space ends each text
void fake_forget();
}

template <class Got, class Expected>
void check_equal(const char* file, int line, const char* text, const Got& got, const Expected& expected) {
  if (got == Got(expected)) return;
  std::ostringstream message;
  message << file << ":" << line << ": " << text << ": expected " << expected << ", got " << got;
  const std::string calls = fake_calls();
  const size_t last = calls.size() > 2000 ? calls.find('\n', calls.size() - 2000) + 1 : 0;
  std::printf("%s\nThe driver's last calls:\n%s", message.str().c_str(), calls.substr(last).c_str());
  std::exit(1);
}
#define EQUAL(got, expected) check_equal(__FILE__, __LINE__, #got, got, expected)
#define SUCCEEDS(call) EQUAL(call, CUDA_SUCCESS)
