"""Layer 5, the clients: small programs at mail systems that stay where they are, asking the filtering server."""
