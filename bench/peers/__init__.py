"""One adapter a system: how it does each kind of work. Each runs in an environment of its own."""
