"""The recorder: one process that keeps what the relays' records tell: tracking, history, JSON lines, AV records."""
