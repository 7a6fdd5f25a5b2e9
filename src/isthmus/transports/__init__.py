"""Every socket, pipe and process. A *front* faces clients, a *back* faces servers.

What may not enter: decisions about eras, sessions and routing, which are the engine's; exceptions of other libraries
must not leave.
"""
