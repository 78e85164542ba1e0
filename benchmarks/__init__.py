"""Benchmarks: what Playhead costs, as ratios to what this machine allows."""
