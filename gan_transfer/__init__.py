"""Image generation with transfer learning, in Keras 3 on TensorFlow (documents A-E)."""
