"""Network checks of the relay: what DNS and other servers tell of a message; `base` says what one is."""
