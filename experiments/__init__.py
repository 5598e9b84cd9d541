"""Scripts that wire the packages to flags, data and run directories."""

import os

# Before NumPy comes: the products here are small, and BLAS threads that wait for each
# other beside TensorFlow's make them up to 75 times as slow.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
