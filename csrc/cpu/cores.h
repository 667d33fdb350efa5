// The number of CPU cores that this process may use.
#pragma once
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace pixelrnn::cpu {

inline std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Returns `cores`, or the CPU limit of a control group (cgroup) if it is smaller. A part of a core counts as a core.
// `limit` is "quota period", both in microseconds. Without a limit, the quota is "max" or -1.
inline int limited_cores(int cores, const std::string& limit) {
  std::istringstream words(limit);
  double quota = 0, period = 0;
  if (!(words >> quota >> period) || quota <= 0 || period <= 0) return cores;
  return int(std::clamp<double>(std::ceil(quota / period), 1, cores));
}

// Returns `cores`, or the smallest CPU limit of a process's control groups and their parents. `groups` is the text of
// the process's /proc/self/cgroup. The files with the limits lie below `mount`.
inline int limited_cores(int cores, const std::string& groups, const std::string& mount) {
  std::istringstream lines(groups);
  for (std::string line; std::getline(lines, line);) {
    // A line is "number:controllers:group". Version 2 of cgroups names no controllers.
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_version_2 = controllers == ",,";
    if (!is_version_2 && controllers.find(",cpu,") == std::string::npos) continue;
    // A container may see its own group at `mount`, where the group's name does not exist. Missing files are skipped.
    for (std::string group = line.substr(second + 1);; group.resize(group.rfind('/'))) {
      const std::string file = mount + (is_version_2 ? "" : "/cpu") + group + "/cpu.";
      const std::string limit =
          is_version_2 ? read_file(file + "max") : read_file(file + "cfs_quota_us") + read_file(file + "cfs_period_us");
      cores = limited_cores(cores, limit);
      if (group.find('/') == std::string::npos) break;
    }
  }
  return cores;
}

// Returns the number of cores, at least 1. On Linux, the CPU affinity and the limits of control groups, such as those
// of a container, also count. The function reads them once in a process, because the limits lie in files.
inline int usable_cores() {
  static const int usable = [] {
    int cores = std::max<int>(1, sysconf(_SC_NPROCESSORS_ONLN));
#if defined(__linux__)
    // These variables let OpenMP bind each thread to a core. The affinity of one thread is then not the process's.
    bool is_bound = false;
    for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"})
      is_bound = is_bound || getenv(name);
    cpu_set_t affinity;
    if (!is_bound && sched_getaffinity(0, sizeof(affinity), &affinity) == 0) cores = CPU_COUNT(&affinity);
    cores = limited_cores(cores, read_file("/proc/self/cgroup"), "/sys/fs/cgroup");
#endif
    return cores;
  }();
  return usable;
}

}  // namespace pixelrnn::cpu
