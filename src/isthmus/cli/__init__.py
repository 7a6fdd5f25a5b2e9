"""The command: reads arguments, says what is wrong in one line, and leaves the work to the rooms below."""
