"""Many servers behind one endpoint: which of them a request goes to, and one catalog out of their lists.

Each back keeps its own gateway (`engine`), so that eras, sessions and transports are its own affair. What enters here
knows names (`routing`) and members, no transport.
"""
