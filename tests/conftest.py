"""What holds for every test: how hypothesis searches, wherever it is used."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "quorate",
    # A busy machine is no fault of the code: nothing here is judged by the clock.
    deadline=None,
    # A contract suite is one class of tests that every implementation inherits.
    suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("quorate")
