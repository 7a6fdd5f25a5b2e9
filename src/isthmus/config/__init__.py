"""Files and mappings that say which servers there are: read, checked, and made into what the engine takes.

No sockets and no processes here: a configuration is understood before anything is started. What is wrong with one is a
`ConfigError` that names the line.
"""
