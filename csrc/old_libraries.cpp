// Defines what the headers of newer C++ libraries call and older libraries lack: functions, and instances of templates
// that only newer libraries hold compiled. exports.map keeps the symbols in this library.
#include <new>
#include <sstream>

// Whether the process has only one thread. "No" is always a right answer.
extern "C" char __libc_single_threaded = 0;

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { throw bad_array_new_length(); }
template class basic_stringbuf<char>;
template class basic_ostringstream<char>;
template class basic_stringstream<char>;
}  // namespace std
