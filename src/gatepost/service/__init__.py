"""Services of the product for others than its own relays: the UDS server."""
