"""The whole embedded engine in a simulated world."""
