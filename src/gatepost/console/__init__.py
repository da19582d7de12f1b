"""Layer 5: the web console and the interface for programs: a process of its own that reaches nothing but the link."""
