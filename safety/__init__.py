"""Judging text, removing and restoring identifiers, windowed release of a stream."""
