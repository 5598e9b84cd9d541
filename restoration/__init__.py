"""Image restoration, classical and learned (documents A 2.2, C 2.3, D 2.3)."""
