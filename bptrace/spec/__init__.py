"""From YAML text to a validated description of a network, with the place of every mistake."""
