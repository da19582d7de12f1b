"""Protocols besides SMTP, sans-I/O: each module is one protocol, bytes in, values out."""
