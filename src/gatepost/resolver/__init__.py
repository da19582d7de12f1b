"""DNS for the relay process: `resolver.Resolver` asks, caches and bounds; `answers` says what comes back."""
