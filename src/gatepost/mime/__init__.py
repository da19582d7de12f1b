"""MIME as byte ranges into the received content: structure, decoding, and editing by splices."""
