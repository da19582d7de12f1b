"""The pages of recipients: links out of digests, and the quarantine of one address."""
