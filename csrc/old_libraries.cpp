// Functions and template instances that headers of newer C++ libraries use and older libraries lack. exports.map hides
// their symbols from other libraries.
#include <new>
#include <sstream>

// glibc's flag that the process has only one thread. The value 0 is always safe, as callers then assume several.
extern "C" char __libc_single_threaded = 0;

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { throw bad_array_new_length(); }
template class basic_stringbuf<char>;
template class basic_ostringstream<char>;
template class basic_stringstream<char>;
}  // namespace std
