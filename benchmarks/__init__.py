"""What BatCat costs beside what else one would use: `python -m benchmarks`, or `make bench`.

Every figure is taken in a fresh process, all of a row's figures in the same run, and a row is
judged by ratios: absolute times belong to a machine.
"""
