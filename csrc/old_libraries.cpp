// Defines functions and template instances that headers of newer C++ libraries use and older libraries lack.
// exports.map hides the symbols.
#include <new>
#include <sstream>

// Nonzero means that the process has one thread. 0 is always correct.
extern "C" char __libc_single_threaded = 0;

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { throw bad_array_new_length(); }
template class basic_stringbuf<char>;
template class basic_ostringstream<char>;
template class basic_stringstream<char>;
}  // namespace std
