"""The configuration: one schema, two ways to write it down (TOML and the documented INI form), and masks.

`gatepost.config.load.load` reads a file and gives a frozen `gatepost.config.schema.Config` or a list of every
problem found. Nothing here opens a socket or asks the clock.
"""
