"""Benchmarks of the whole program. Timings on shared machines are noise: read ratios of one run."""
