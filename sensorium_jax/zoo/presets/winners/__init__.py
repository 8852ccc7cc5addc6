"""Models that won competitions, or came near; one family a file."""
