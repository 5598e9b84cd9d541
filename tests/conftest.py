import os
import sys

import pytest

# Before the first import of TensorFlow, Keras or Matplotlib.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def seeded():
    """Fixes Python's, NumPy's and TensorFlow's random numbers for each test."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)
