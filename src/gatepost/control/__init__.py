"""Layer 5: seeing and steering: log lines, counters, control socket, accounts; what processes are walled in with."""
