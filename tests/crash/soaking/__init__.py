"""Rounds of real faults: each scenario is one module, used by the short tests and by the soak."""
