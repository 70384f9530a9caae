"""What moves: the port that the three objects call, and the engine embedded in the program."""
