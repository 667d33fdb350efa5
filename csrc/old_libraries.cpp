// Functions that headers of newer C++ libraries use and older libraries lack. exports.map hides them from other
// libraries.
#include <new>
#include <sstream>

// The C++ library skips atomic operations if __libc_single_threaded is not 0. The value 0 is always safe, because 0
// means that the process may have several threads.
extern "C" char __libc_single_threaded = 0;

namespace std {
[[noreturn]] void __throw_bad_array_new_length() { throw bad_array_new_length(); }
template class basic_stringbuf<char>;
template class basic_ostringstream<char>;
template class basic_stringstream<char>;
}  // namespace std
