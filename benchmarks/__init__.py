"""Benchmarks: a registry of cases, each in a process of its own, on CPU time, with ratios against a named peer in the same run."""
