"""Fixtures for every test."""

import os
import sys

from hypothesis import HealthCheck, settings

# Containers often forbid the cache of compiled modules. The tests start some two hundred Pythons, and each of
# them would compile the whole of Parley anew: that is more than half of the time of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest_plugins = ("tests.postgres",)

# A busy machine must not fail a test: no example has a deadline, nor is the making of examples timed.
settings.register_profile("parley", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("parley")
