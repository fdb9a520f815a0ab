"""Benchmarks: side by side in one run, CPU seconds per million readings, voided by a wrong result."""
