"""Measurements of speed: ratios within one run, not judgements. ``pytest tests/benchmarks``; see the README there."""
