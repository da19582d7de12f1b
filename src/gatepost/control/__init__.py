"""Layer 5: seeing and steering: log lines, counters, the control socket; accounts; what walls of processes are built of."""
