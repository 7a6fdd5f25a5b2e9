"""Which of many servers a name or URI belongs to, and how each one's things look to clients.

Pure, as `protocol` is: no waiting, no clock, no chance, nothing kept. Catalogs and their refreshing are the engine's.
"""
