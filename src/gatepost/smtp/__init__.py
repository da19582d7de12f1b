"""Layer 2: both roles of SMTP (RFC 5321), sans-I/O: bytes in, events out.

`server.ServerSession` receives, `client.ClientSession` delivers. The relay owns sockets, clocks and decisions; nothing
in this package imports a socket, an event loop, a clock or a logger.
"""
