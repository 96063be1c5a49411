"""Speed and memory as ratios, measured side by side on this machine: `python -m benchmarks`.

Installs nothing. Peers that can be imported take part; the others are named. Each row of the table is one
file of `benchmarks/rows`, runs in a fresh process, and interleaves what it compares.
"""
