"""Linear damage A of y = A x + n, each with its adjoint (documents A 2.2, D 2.3).

Operators take TensorFlow batches `[B, H, W, C]`, float32. The adjoint is the transpose,
<A x, y> = <x, A^T y>, which the iterative methods need.
"""

import dataclasses
import pathlib
import zipfile

import numpy as np
import tensorflow as tf

from gan_transfer import errors, pictures


@dataclasses.dataclass(frozen=True)
class Identity:
    """A x = x: noise is the only damage (document A 2.2)."""

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """`x` itself."""
        return x

    def adjoint(self, y: tf.Tensor) -> tf.Tensor:
        """`y` itself."""
        return y


@dataclasses.dataclass(frozen=True, eq=False)
class Mask:
    """A x = (1 - m) x: missing pixels become 0; A is its own adjoint (document D 2.3).

    Attributes:
        mask: float32, 1 = missing, 0 = known; of a shape that broadcasts to the images'
            `[B, H, W, C]`, such as `[H, W, 1]`.
    """

    mask: np.ndarray | tf.Tensor

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """Known pixels, `(1 - m) x`."""
        return (1.0 - self.mask) * x

    def adjoint(self, y: tf.Tensor) -> tf.Tensor:
        """The same as `apply`."""
        return self.apply(y)


@dataclasses.dataclass(frozen=True, eq=False)
class Blur:
    """Circular convolution, the same in every channel (document A 2.2).

    (A x)[i, j] = sum_uv k[u, v] x[i - u + h // 2, j - v + w // 2], indices modulo the
    size of the image. It is diagonal in the Fourier domain.

    Attributes:
        kernel: `[h, w]`, >= 0, its origin at the pixel (h // 2, w // 2).

    Raises:
        errors.InputError: not a kernel; in use, an image smaller than it.
    """

    kernel: np.ndarray

    def __post_init__(self):
        _check(self.kernel, "blur kernel")

    def transfer(self, sides: tuple[int, int]) -> np.ndarray:
        """Optical transfer function for images of the size `sides` = (H, W).

        Returns:
            complex64 `[H, W // 2 + 1]`, a factor for `tf.signal.rfft2d`.

        Raises:
            errors.InputError: the kernel is larger than the image.
        """
        extent = self.kernel.shape
        if extent[0] > sides[0] or extent[1] > sides[1]:
            raise errors.InputError(
                f"blur kernel of {extent[0]}x{extent[1]} pixels is larger than the "
                f"image of {sides[0]}x{sides[1]}; crop the kernel"
            )
        padded = np.zeros(sides)
        padded[: extent[0], : extent[1]] = self.kernel
        centred = np.roll(padded, [-(side // 2) for side in extent], axis=(0, 1))
        return np.fft.rfft2(centred).astype(np.complex64)

    def apply(self, x: tf.Tensor) -> tf.Tensor:
        """Convolve images `[B, H, W, C]` of a known size with the kernel."""
        return _filtered(x, self.transfer(tuple(x.shape[1:3])))

    def adjoint(self, y: tf.Tensor) -> tf.Tensor:
        """Correlate images `[B, H, W, C]` of a known size with the kernel."""
        return _filtered(y, np.conj(self.transfer(tuple(y.shape[1:3]))))


def read_kernel(path: str) -> np.ndarray:
    """Read a blur kernel and norm it to the sum 1 (document A 2.2).

    Args:
        path: a picture, whose brightness is the kernel (colours are averaged); a `.npy`
            file; or an array of an `.npz` archive, as `kernels.npz:k1`.

    Returns:
        float32 `[h, w]`, >= 0, with the sum 1.

    Raises:
        errors.InputError: no such file or array, a broken file, or values that are no
            kernel: other than two dimensions, negative, not finite, with the sum 0.
    """
    file, _, key = str(path).rpartition(".npz:")
    if file:
        kernel = _read_array(pathlib.Path(f"{file}.npz"), key)
    elif str(path).endswith(".npz"):
        raise errors.InputError(f"{path}: name an array of the archive, as {path}:k1")
    elif str(path).endswith(".npy"):
        kernel = _read_array(pathlib.Path(path), None)
    else:
        kernel = pictures.read(path).pixels.mean(axis=-1)
    _check(kernel, str(path))
    kernel = kernel.astype(np.float64)
    return (kernel / kernel.sum()).astype(np.float32)


def _read_array(path: pathlib.Path, key: str | None) -> np.ndarray:
    if not path.is_file():
        raise errors.InputError(f"{path}: no such file with a blur kernel")
    try:
        # NumPy leaves the file of a broken archive open.
        with open(path, "rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if key is None and isinstance(found, np.ndarray):
                return found
            with found:
                if key in found:
                    return found[key]
                names = ", ".join(found)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise errors.InputError(f"{path}: broken array file; replace it") from error
    raise errors.InputError(f"{path}: has no array {key!r}; there are {names}")


def _check(kernel: np.ndarray, name: str) -> None:
    if kernel.ndim != 2 or kernel.dtype.kind not in "fiu" or 0 in kernel.shape:
        raise errors.InputError(
            f"{name}: {kernel.dtype} of shape {kernel.shape}; a blur kernel is [h, w]"
        )
    total = kernel.sum(dtype=np.float64)
    if not np.isfinite(total) or kernel.min() < 0 or total == 0:
        raise errors.InputError(
            f"{name}: smallest value {kernel.min():g}, sum {total:g}; "
            "a blur kernel is finite and >= 0, with a positive sum"
        )


def fourier(x: tf.Tensor) -> tf.Tensor:
    """Spectra: `[B, H, W, C]` -> complex64 `[B, C, H, W // 2 + 1]` (document A 2.2)."""
    return tf.signal.rfft2d(tf.transpose(x, [0, 3, 1, 2]))


def inverse_fourier(spectrum: tf.Tensor, sides: tuple[int, int]) -> tf.Tensor:
    """Images `[B, H, W, C]` of the sides (H, W) from what `fourier` returns (A 2.2)."""
    return tf.transpose(tf.signal.irfft2d(spectrum, sides), [0, 2, 3, 1])


def _filtered(x: tf.Tensor, transfer: np.ndarray) -> tf.Tensor:
    """Multiply by a transfer function in the Fourier domain."""
    return inverse_fourier(fourier(x) * transfer, tuple(x.shape[1:3]))
