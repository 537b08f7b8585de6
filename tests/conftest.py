"""Fixtures for every test."""

from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.postgres",)

# A busy machine must not fail a test: no example has a deadline, nor is the making of examples timed.
settings.register_profile("parley", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("parley")
