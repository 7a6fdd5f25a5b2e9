"""Sockets, pipes and processes, against peers that misbehave."""
