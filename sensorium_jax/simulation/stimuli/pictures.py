"""Still pictures: a textured ground with a few textured objects in front of it."""

import numpy as np

from sensorium_jax.simulation.stimuli.textures import texture


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """One picture [H, W] uint8; objects scale with the picture."""
    unit = height / 36
    ground = texture(rng, height, width)
    image = rng.uniform(50, 140) + rng.uniform(25, 60) * ground
    y, x = np.mgrid[:height, :width].astype(np.float32) / unit
    surface = texture(rng, height, width)
    for _ in range(rng.integers(1, 6)):
        radii, angle = rng.uniform(3, 15, 2), rng.uniform(0, np.pi)
        dy = y - rng.uniform(0, height / unit)
        dx = x - rng.uniform(0, width / unit)
        u = (np.cos(angle) * dx + np.sin(angle) * dy) / radii[0]
        v = (np.cos(angle) * dy - np.sin(angle) * dx) / radii[1]
        alpha = np.clip((1 - np.hypot(u, v)) * radii.min() * unit + 0.5, 0, 1)
        shift = rng.integers(0, [height, width])
        skin = np.roll(surface, shift, axis=(0, 1))
        image += alpha * (rng.uniform(5, 210) + rng.uniform(8, 40) * skin - image)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def shrink(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor pixels of an image [H, W], as uint8."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    blocks = image.reshape(height, factor, width, factor).astype(np.float32)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)
