"""The command line; it knows the app, the three objects, and questions that change nothing."""
