"""What the protocol means, without any I/O."""
