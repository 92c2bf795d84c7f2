"""Measurements of lamina against other libraries; `python -m benchmarks --help` tells how to make them."""
