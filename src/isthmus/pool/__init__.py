"""Sessions with a legacy back, leased to those who need one.

`policy` decides, synchronously and purely; `pool` does what it says. Nothing here knows what is said in a session.
"""
