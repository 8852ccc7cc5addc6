"""State dicts of the originals' baselines, made up in their names and shapes."""

import zipfile

import numpy as np


def gaussian(rng, mouse, neurons, features):
    """Readout of one mouse."""
    normal = lambda *shape: rng.normal(0, 0.3, shape).astype(np.float32)  # noqa: E731
    at = f"readout.{mouse}"
    return {
        f"{at}.sigma": normal(1, neurons, 2, 2),
        f"{at}._features": normal(1, features, 1, neurons),
        f"{at}.bias": normal(neurons),
        f"{at}.source_grid": normal(neurons, 2),
        f"{at}.mu_transform.0.weight": normal(30, 2),
        f"{at}.mu_transform.0.bias": normal(30),
        f"{at}.mu_transform.2.weight": normal(2, 30),
        f"{at}.mu_transform.2.bias": normal(2),
    }


def shifter(rng, mouse):
    """Shifter of one mouse."""
    state = {}
    for i, (a, b) in enumerate(((2, 5), (5, 5), (5, 2))):
        state[f"shifter.{mouse}.mlp.{2 * i}.weight"] = rng.normal(0, 1, (b, a))
        state[f"shifter.{mouse}.mlp.{2 * i}.bias"] = rng.normal(0, 1, b)
    return {k: v.astype(np.float32) for k, v in state.items()}


def static2022(*, layers, channels, mice, biases=False, seed=0):
    """The 2022 kit's stacked core with its readouts; mice are neurons by name."""
    rng = np.random.default_rng(seed)
    normal = lambda *shape: rng.normal(0, 0.2, shape).astype(np.float32)  # noqa: E731
    state = {"core._input_weights_regularizer.laplace.filter": normal(1, 1, 3, 3)}
    for i in range(layers):
        at = f"core.features.layer{i}"
        if i == 0:
            state[f"{at}.conv.weight"] = normal(64, channels, 9, 9)
        else:
            shapes = {
                "in_depth_conv": (64, 64, 1, 1),
                "spatial_conv": (64, 1, 7, 7),
                "out_depth_conv": (64, 64, 1, 1),
            }
            for part, shape in shapes.items():
                state[f"{at}.ds_conv.{part}.weight"] = normal(*shape)
                if biases:
                    state[f"{at}.ds_conv.{part}.bias"] = normal(64)
        state |= {
            f"{at}.norm.weight": normal(64),
            f"{at}.norm.bias": normal(64),
            f"{at}.norm.running_mean": normal(64),
            f"{at}.norm.running_var": normal(64) ** 2 + 0.5,
            f"{at}.norm.num_batches_tracked": np.array(7),
        }
    for mouse, neurons in mice.items():
        state |= gaussian(rng, mouse, neurons, 64)
    if channels > 1:
        for mouse in mice:
            state |= shifter(rng, mouse)
    return state


def save(path, state):
    """Write a state dict as torch.save does, without torch."""
    number = lambda n: b"J" + int(n).to_bytes(4, "little", signed=True)  # noqa: E731
    text = lambda s: b"X" + len(s).to_bytes(4, "little") + s.encode()  # noqa: E731
    group = lambda *parts: b"(" + b"".join(parts) + b"t"  # noqa: E731
    kinds = {"f": b"FloatStorage", "i": b"LongStorage"}
    out = [b"\x80\x02}("]
    with zipfile.ZipFile(path, "w") as file:
        for key, (name, array) in enumerate(state.items()):
            array = np.ascontiguousarray(array)
            strides = [s // array.itemsize for s in array.strides]
            kind = b"ctorch\n" + kinds[array.dtype.kind] + b"\n"
            where = group(
                text("storage"), kind, text(str(key)), text("cpu"), number(array.size)
            )
            layout = group(
                where + b"Q",
                number(0),
                group(*map(number, array.shape)),
                group(*map(number, strides)),
                b"\x89",
                b"ccollections\nOrderedDict\n)R",
            )
            out += [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n", layout, b"R"]
            file.writestr(f"archive/data/{key}", array.tobytes())
        file.writestr("archive/data.pkl", b"".join([*out, b"u."]))
    return path
