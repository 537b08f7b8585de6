"""Parley beside its peers and the physical limit: one machine, one client, one payload, in one run.

python -m scripts.bench peers [--only NAME,...] [--workload NAME,...] [--seconds N] [--quick] [--out DIR]
"""
