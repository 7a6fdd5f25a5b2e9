"""Behaviour shown with clients and servers that we did not write, with isthmus between them."""
