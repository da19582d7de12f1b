"""Layer 3: the texts the gateway writes itself: templates, placeholders, delivery reports. Pure functions."""
