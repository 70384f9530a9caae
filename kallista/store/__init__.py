"""What is remembered: the port, and a store for each place to keep things."""
