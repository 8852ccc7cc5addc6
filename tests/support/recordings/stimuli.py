"""A second generator of stimuli, which shares nothing with the simulator's."""

import numpy as np

H, W = 36, 64


def rng_of(*words):
    return np.random.default_rng([77, *words])


def leaves(rng, side, count=220):
    """Rotated rectangles and discs, large over small, each with a grain of its own."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    canvas = np.full((side, side), rng.uniform(40, 160), np.float32)
    for _ in range(count):
        size = 3 * rng.pareto(1.6, 2) + 3
        cy, cx, a = *rng.uniform(0, side, 2), rng.uniform(0, np.pi)
        u = (np.cos(a) * (x - cx) + np.sin(a) * (y - cy)) / size[0]
        v = (np.cos(a) * (y - cy) - np.sin(a) * (x - cx)) / size[1]
        inside = (
            np.maximum(abs(u), abs(v)) if rng.random() < 0.5 else u * u + v * v
        ) < 1
        slope = rng.normal(0, 12) * u + rng.normal(0, 12) * v
        canvas[inside] = (rng.uniform(10, 240) + slope)[inside]
    return canvas


def waves(rng, side, count=150):
    """A cloud of plane waves with amplitude falling as frequency rises."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    field = np.zeros((side, side), np.float32)
    for f in np.exp(rng.uniform(np.log(0.006), np.log(0.4), count)):
        a, p = rng.uniform(0, 2 * np.pi, 2)
        field += np.cos(2 * np.pi * f * (np.cos(a) * x + np.sin(a) * y) + p) * f**-0.15
    return 100 + 35 * field / field.std()


def sampled(canvas, y, x):
    side = len(canvas) - 1
    y, x = np.clip(y, 0, side - 1e-3), np.clip(x, 0, side - 1e-3)
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = y - iy, x - ix
    top = canvas[iy, ix] * (1 - fx) + canvas[iy, ix + 1] * fx
    low = canvas[iy + 1, ix] * (1 - fx) + canvas[iy + 1, ix + 1] * fx
    return top * (1 - fy) + low * fy


def natural_movie(rng, frames):
    """Pans, zooms and turns over a large canvas, with cuts."""
    y, x = np.mgrid[:H, :W] - np.array([H / 2, W / 2])[:, None, None]
    video, t = np.zeros((frames, H, W)), 0
    while t < frames:
        canvas = (leaves if rng.random() < 0.6 else waves)(rng, 160)
        stop = min(frames, t + int(rng.integers(40, 200)))
        pan, spin = rng.normal(0, 0.35, 2), rng.normal(0, 0.006)
        zoom, grow = rng.uniform(0.7, 1.3), rng.normal(0, 0.002)
        for k in range(stop - t):
            z, a = zoom * np.exp(grow * k), spin * k
            yy = 80 + pan[0] * k + z * (np.cos(a) * y - np.sin(a) * x)
            xx = 80 + pan[1] * k + z * (np.sin(a) * y + np.cos(a) * x)
            video[t + k] = sampled(canvas, yy, xx)
        t = stop
    return video


def natural_images(rng, frames):
    on, off = int(rng.integers(6, 24)), int(rng.integers(4, 24))
    video = np.full((frames, H, W), rng.uniform(80, 150))
    for t in range(int(rng.integers(0, 9)), frames, on + off):
        canvas = (leaves if rng.random() < 0.7 else waves)(rng, 72)
        video[t : t + on] = canvas[3 : 3 + H, 4 : 4 + W]
    return video


def drifting_gabor(rng, frames):
    y, x = np.mgrid[:H, :W].astype(float)
    cy, cx = H / 2 + rng.normal(0, 3), W / 2 + rng.normal(0, 6)
    radius, hard = rng.uniform(9, 18), rng.random() < 0.3
    away = np.hypot((y - cy), (x - cx) * rng.uniform(0.7, 1.2)) / radius
    mask = (away < 1) * 1.0 if hard else np.exp(-2 * away**2)
    block, f = int(rng.integers(15, 70)), rng.uniform(0.05, 0.14)
    contrast, ground = rng.uniform(25, 110), rng.uniform(100, 140)
    video = np.zeros((frames, H, W))
    for t in range(frames):
        if t % block == 0:
            a, hz = rng.integers(12) * np.pi / 6, rng.uniform(0.7, 5)
        wave = np.cos(2 * np.pi * (f * (np.cos(a) * x + np.sin(a) * y) - hz * t / 30))
        video[t] = ground + contrast * mask * wave
    return video


def pink_noise(rng, frames):
    y, x = np.mgrid[:H, :W].astype(float)
    block, half = int(rng.integers(20, 80)), rng.uniform(0.08, 0.3)
    speed, contrast, video = rng.uniform(0.2, 1.8), rng.uniform(18, 50), []
    for start in range(0, frames, block):
        heading = rng.uniform(0, 2 * np.pi)
        count = 120
        f = np.exp(rng.uniform(np.log(0.008), np.log(0.4), count))
        a = heading + rng.uniform(-half, half, count)
        kx, ky = f * np.cos(a), f * np.sin(a)
        phase = rng.uniform(0, 2 * np.pi, count)
        t = np.arange(min(block, frames - start))[:, None]
        turn = np.exp(2j * np.pi * (-speed * f * t) + 1j * phase)  # [t, wave]
        ey = np.exp(2j * np.pi * ky[:, None] * y[None, :, 0])
        ex = np.exp(2j * np.pi * kx[:, None] * x[None, 0])
        part = np.einsum("tk,kh,kw->thw", turn, ey, ex, optimize=True).real
        video.append(part / part.std())
    return 120 + contrast * np.concatenate(video)


def random_dots(rng, frames):
    count, size = int(rng.integers(25, 110)), rng.uniform(0.8, 1.9)
    ground, square = rng.choice([0.0, 60.0, 128.0, 200.0]), rng.random() < 0.5
    away = {0.0: [200.0], 200.0: [-180.0]}.get(ground, [90.0, -50.0])
    shade = rng.choice(away, count)
    coherence, speed = rng.uniform(0.3, 1), rng.uniform(0.5, 1.6)
    position = rng.uniform(0, [H, W], (count, 2))
    y, x = np.arange(H)[None, :, None], np.arange(W)[None, None, :]
    video = np.full((frames, H, W), ground)
    for t in range(frames):
        if t % 40 == 0:
            heading = rng.uniform(0, 2 * np.pi)
        go = rng.random(count) < coherence
        angle = np.where(go, heading, rng.uniform(0, 2 * np.pi, count))
        position += speed * np.column_stack([np.sin(angle), np.cos(angle)])
        position %= [H, W]
        dy, dx = y - position[:, 0, None, None], x - position[:, 1, None, None]
        far = np.maximum(abs(dy), abs(dx)) if square else np.hypot(dy, dx)
        video[t] += (np.clip(size + 0.5 - far, 0, 1) * shade[:, None, None]).sum(0)
    return video


def gaussian_dots(rng, frames):
    hold, count = int(rng.integers(5, 16)), int(rng.integers(1, 8))
    ground = rng.choice([0.0, 128.0, 128.0, 200.0])
    shades = {0.0: [220.0], 200.0: [-180.0]}.get(ground, [100.0, -100.0])
    y, x = np.mgrid[:H, :W][:, None]
    video = np.full((frames, H, W), ground)
    for t in range(0, frames, hold):
        cy, cx = rng.uniform(0, [H, W], (count, 2)).T[..., None, None]
        s = rng.uniform(1.6, 4.5, (count, 1, 1))
        blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * s * s))
        video[t : t + hold] += (blob * rng.choice(shades, (count, 1, 1))).sum(0)
    return video


def corrupted(rng, video):
    """Another contrast and gamma, noise, coarse cosine compression, bytes."""
    video = np.clip(video, 0, 255)
    video = 128 + rng.uniform(0.6, 1) * (video - 128)
    video = 255 * (np.clip(video, 0, 255) / 255) ** rng.uniform(0.8, 1.25)
    video = video + rng.uniform(0, 6) * rng.standard_normal(video.shape)
    if rng.random() < 0.5:
        video = compressed(video, rng.uniform(6, 24))
    return np.clip(np.rint(video), 0, 255).astype(np.uint8)


def compressed(video, step):
    """Cosine coefficients of 4 x 4 blocks, rounded to a step, as in old video."""
    k = np.arange(4)
    basis = np.cos(np.pi * (2 * k + 1) * k[:, None] / 8) * np.sqrt(0.5)
    basis[0] *= np.sqrt(0.5)
    blocks = video.reshape(len(video), H // 4, 4, W // 4, 4)
    coded = np.einsum("ai,thiwj,bj->thawb", basis, blocks, basis, optimize=True)
    coded = np.rint(coded / step) * step
    back = np.einsum("ai,thawb,bj->thiwj", basis, coded, basis, optimize=True)
    return back.reshape(video.shape)


KINDS = {
    "natural_movie": natural_movie,
    "natural_images": natural_images,
    "drifting_gabor": drifting_gabor,
    "pink_noise": pink_noise,
    "random_dots": random_dots,
    "gaussian_dots": gaussian_dots,
}


def clip(kind, number, frames=150):
    rng = rng_of(list(KINDS).index(kind), number)
    return corrupted(rng, KINDS[kind](rng, frames))


def board(size, phase=0.0):
    y, x = np.mgrid[:H, :W]
    return 128 + 90 * ((-1.0) ** (y // size + np.floor((x + phase) / size)))


def foreign(number, frames=120):
    """Clips of none of the kinds, by name."""
    rng = rng_of(99, number)
    size = int(rng.choice([3, 4, 6, 9]))
    noise = rng.standard_normal((frames, H, W))
    hold = int(rng.integers(8, 20))
    sign = (-1.0) ** (np.arange(frames) // hold)
    still = np.broadcast_to(board(size), (frames, H, W))
    moving = np.stack([board(size, 0.7 * t) for t in range(frames)])
    luminance = np.repeat(rng.uniform(20, 230, frames // 10 + 1), 10)[:frames]
    made = {
        "white noise": 128 + 40 * noise,
        "binary noise": np.where(noise > 0, 220.0, 30.0),
        "held noise": 128 + 40 * np.repeat(noise[: frames // 8], 8, axis=0),
        "blank": np.full((frames, H, W), rng.uniform(0, 255)),
        "noisy blank": rng.uniform(50, 200) + 3 * noise,
        "luminance steps": np.broadcast_to(luminance[:, None, None], (frames, H, W)),
        "checkerboard": still,
        "reversing checkerboard": 128 + sign[:, None, None] * (still - 128),
        "drifting checkerboard": moving,
    }
    return {k: np.clip(np.rint(v), 0, 255).astype(np.uint8) for k, v in made.items()}
