"""The harness that the developers' benchmarks share."""
