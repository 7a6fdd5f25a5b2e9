"""The two translations between the eras, message by message: pure functions and tables, an era a file.

`legacy_front` serves a legacy client from a modern back, `modern_front` a modern client from a legacy back. Same-era
traffic comes past neither.
"""
