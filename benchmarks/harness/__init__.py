"""What the benchmarks share: cases and their providers, how these are timed and checked, tables and plots."""
