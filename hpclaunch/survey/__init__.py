"""What a live site is like: found by a script on its login node, read here."""
