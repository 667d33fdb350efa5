// Functions of the fake driver that no driver has. Tests call them.
#pragma once

extern "C" {
const char*
fake_calls();  // all calls since the last fake_forget(), one a line (state.h); valid until the next question
int fake_count(const char* beginning);  // of the calls, with a space at their ends
void fake_forget();
}
