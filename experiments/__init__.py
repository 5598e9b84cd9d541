"""Scripts that train and measure what documents A-E describe, one per experiment."""
