"""Empty until filled."""
