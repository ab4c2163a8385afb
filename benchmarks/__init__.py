"""Performance claims, as ratios measured interleaved in one run against a named peer."""
