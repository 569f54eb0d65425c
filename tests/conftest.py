"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# A test's verdict must not depend on how busy the machine is: no deadline for one example, and no
# complaint that drawing them is slow.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")
