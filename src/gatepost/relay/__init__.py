"""Layer 5, the relay process: listeners, queue, inspection hand-over, delivery. Owns one spool shard."""
