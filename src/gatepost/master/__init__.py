"""Layer 5, the master process: configuration, ports, supervision, signals, control socket. It never touches mail."""
