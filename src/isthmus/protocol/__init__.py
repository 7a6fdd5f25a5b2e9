"""What MCP means: revisions, methods, the rules that a message is judged by.

What may not enter: I/O, clocks, randomness, logging, `async def`. Time, ids and keys are arguments; a peer's nonsense
is a value (`Refusal`), not an exception.
"""
