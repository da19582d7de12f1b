"""Mail authentication: SPF, DKIM, DMARC and ARC, sans-I/O (RFC 7208, RFC 6376, RFC 9989, RFC 8617)."""
