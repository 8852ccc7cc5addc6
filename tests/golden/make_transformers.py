"""Record what the originals of ViV1T and V1T answer, and their gradients.

Run with torch and einops installed, $SENSORIUM_PEERS naming the folder of the originals
and $SENSORIUM_FIXTURES that of the fixtures of ViV1T, whose weights, inputs and answers
are kept: only gradients are added. Both models run in evaluation: nothing is drawn.
    python tests/golden/make_transformers.py
Modules are imported one by one, without the packages around them that need more.
"""

import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE, PEERS = Path(__file__).parent, Path(os.environ["SENSORIUM_PEERS"]) / "bryanlimy"
VIV1T = ("viv1t_core", "viv1t_core_flash0_normqk_swiglu", "viv1t_core_parallel_bmlp")
V1T = {"v1t_core": False, "v1t_core_lsa": True}
IMAGE, BATCH = (2, 11, 14), 3


def bare(root, *packages, **members):
    """Packages whose modules can be imported, but none of whose own code runs."""
    for name in packages:
        module = types.ModuleType(name)
        module.__path__ = [str(root / name.replace(".", "/"))]
        vars(module).update(members.get(name.replace(".", "_"), {}))
        sys.modules[name] = module


def arrays(part, tensors):
    return {f"{part}/{k}": np.asarray(v.detach()) for k, v in tensors.items()}


def gradients(model):
    found = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    return arrays("grad", found)


class Whole(nn.Module):
    """Core, shifters and readouts as the original's Model puts them together."""

    def __init__(self, args, coordinates):
        super().__init__()
        from viv1t.model.core.vivit import ViViTCore
        from viv1t.model.readout.gaussian2d import Gaussian2DReadout
        from viv1t.model.shifter import MLPShifters

        self.core = ViViTCore(args, input_shape=args.input_shapes["video"])
        self.shifters = MLPShifters(args, args.input_shapes, args.mouse_ids)
        shape = self.core.output_shape
        self.readouts = nn.ModuleDict(
            {m: Gaussian2DReadout(args, shape, m, coordinates) for m in args.mouse_ids}
        )

    def forward(self, x, mouse):
        video, *signals = x
        words = dict(zip(("behaviors", "pupil_centers"), signals, strict=True))
        maps = self.core(video, mouse_id=mouse, **words)
        late = {k: v[..., -maps.size(2) :] for k, v in words.items()}
        shifts = self.shifters(**late, mouse_id=mouse)
        drive = self.readouts[mouse](maps, shifts=shifts, **words)
        return nn.functional.elu(drive) + 1, maps


def viv1t(name):
    file = dict(np.load(Path(os.environ["SENSORIUM_FIXTURES"]) / f"{name}.npz"))
    args = types.SimpleNamespace(**json.loads(str(file["config"])))
    args.device = torch.device("cpu")
    given = {k[6:]: torch.tensor(v) for k, v in file.items() if k.startswith("param/")}
    model = Whole(args, given["readouts.A.source_grid"])
    model.load_state_dict(given, strict=False)
    missing = set(model.state_dict()) - set(given)
    assert not missing, missing
    names = ("video", "behavior", "pupil_center")
    x = [torch.tensor(file[f"input/{k}"]) for k in names]
    out, maps = model.eval()(x, "A")
    np.testing.assert_allclose(out.detach(), file["output/out"], atol=1e-5)
    np.testing.assert_allclose(maps.detach(), file["output/core"], atol=1e-5)
    g = torch.randn(out.shape)
    (out * g).sum().backward()
    grads = gradients(model)
    np.savez_compressed(HERE / f"{name}.npz", **file, **{"input/g": g}, **grads)


def v1t(name, *, lsa):
    from v1t.models.core.vit import ViTCore

    config = {
        "core": "vit",
        "behavior_mode": 3,
        "patch_mode": 0,
        "patch_size": 4,
        "patch_stride": 2,
        "emb_dim": 10,
        "num_blocks": 2,
        "num_heads": 3,
        "mlp_dim": 14,
        "p_dropout": 0.0229,
        "t_dropout": 0.2544,
        "drop_path": 0.1,
        "use_lsa": lsa,
        "disable_bias": False,
        "core_reg_scale": 0.5379,
        "output_shapes": {"A": [7]},
        "verbose": 0,
    }
    model = ViTCore(types.SimpleNamespace(**config), input_shape=IMAGE).eval()
    with torch.no_grad():  # nothing may lie where a mistake would cancel
        for p in model.parameters():
            p.add_(0.2 * torch.randn_like(p))
    x = {
        "image": torch.randn(BATCH, *IMAGE),
        "behavior": torch.randn(BATCH, 3),
        "pupil_center": torch.randn(BATCH, 2),
    }
    maps = model(x["image"], "A", x["behavior"], x["pupil_center"])
    x["g"] = torch.randn(maps.shape)
    (maps * x["g"]).sum().backward()
    outputs = {"core": maps, "l1": model.regularizer()}
    np.savez_compressed(
        HERE / f"{name}.npz",
        config=json.dumps(config),
        **arrays("param", model.state_dict()),
        **arrays("input", x),
        **arrays("output", outputs),
        **gradients(model),
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    bare(
        PEERS / "ViV1T/src",
        *("viv1t", "viv1t.model", "viv1t.model.core", "viv1t.model.readout"),
        *("viv1t.utils", "viv1t.utils.utils"),
        viv1t_utils={"utils": types.SimpleNamespace(support_bf16=lambda _: False)},
        viv1t_utils_utils={"support_bf16": lambda _: False},
    )
    bare(PEERS / "V1T/src", "v1t", "v1t.models", "v1t.models.core")
    for each in VIV1T:
        viv1t(each)
    for each, lsa in V1T.items():
        v1t(each, lsa=lsa)
