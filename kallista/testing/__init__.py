"""What users need to test their own handlers and definitions: shipped, because we need it too."""

from kallista.testing.clock import FakeClock
from kallista.testing.running import memory_app, run, run_async

__all__ = ["FakeClock", "memory_app", "run", "run_async"]
