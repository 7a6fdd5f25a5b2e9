"""For those who build on isthmus: the contract of a transport, as a test. Nothing here is used to serve."""

from isthmus.testing.rules import RULES
from isthmus.testing.stage import Era, FarEnd, Link, OpenLink
from isthmus.testing.transport import check_transport

__all__ = ["RULES", "Era", "FarEnd", "Link", "OpenLink", "check_transport"]
