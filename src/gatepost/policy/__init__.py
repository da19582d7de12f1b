"""Layer 3: what is decided of a message: its groups, and the verdict of each. Pure; it looks at nothing itself."""
