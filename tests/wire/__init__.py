"""The wire room, module by module."""
