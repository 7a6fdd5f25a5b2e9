"""Every behaviour of the protocol, over every pair of transports, in every pair of eras: see `README.md`."""
