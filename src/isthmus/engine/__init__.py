"""Takes a client's message to the back and the back's messages to the client.

What may not enter: bytes on a wire (transports own them), settings files, commands. Its nouns are *gateway* (one back
and all that is known of it) and *session* (one legacy client and its own session with the back).
"""
