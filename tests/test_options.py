"""Option files of the BasicSR family: every key is honoured, noted, or named in the error."""

import copy
import json

import pytest
import yaml

from wildsr import config, options
from wildsr.errors import UserError
from wildsr.train import TrainConfig

# The keys are those that the projects' released files have; names, paths and odd values are made up.

DEGRADATION = """
gt_usm: True
resize_prob: [0.2, 0.7, 0.1]
resize_range: [0.15, 1.5]
gaussian_noise_prob: 0.45
noise_range: [1, 30]
poisson_scale_range: [0.05, 3]
gray_noise_prob: 4e-1          # PyYAML: text
jpeg_range: [35, 95]
second_blur_prob: 0.75
resize_prob2: [3, 4, 3]        # weights of any sum
resize_range2: [0.3, 1.2]
gaussian_noise_prob2: 0.5
noise_range2: [1, 2.5e1]       # PyYAML: text within a list
poisson_scale_range2: [0.05, 2.5]
gray_noise_prob2: 0.3
jpeg_range2: [30, 90]
gt_size: 128
queue_size: 48
"""

KERNELS = """
    blur_kernel_size: 21
    kernel_list: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
    kernel_prob: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
    sinc_prob: 0.1
    blur_sigma: [0.2, 2.75]
    betag_range: [0.5, 4]
    betap_range: [1, 2]
    blur_kernel_size2: 21
    kernel_list2: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
    kernel_prob2: [0.5, 0.2, 0.12, 0.03, 0.12, 0.03]
    sinc_prob2: 0.2
    blur_sigma2: [0.2, 1.5]
    betag_range2: [0.5, 4]
    betap_range2: [1, 2]
    final_sinc_prob: 0.85
"""

LOADER = """
    use_hflip: True
    use_rot: False
    use_shuffle: true
    num_worker_per_gpu: 3
    dataset_enlarge_ratio: 1
    prefetch_mode: ~
    io_backend: {type: disk}
"""

REST = """
path:
  pretrain_network_g: ~
  param_key_g: params_ema
  strict_load_g: true
  resume_state: ~
val:
  val_freq: !!float 25e2
  save_img: True
  metrics:
    psnr: {type: calculate_psnr, crop_border: 4, test_y_channel: false}
logger:
  print_freq: 50
  save_checkpoint_freq: 5e3
  use_tb_logger: true
  wandb: {project: ~, resume_id: ~}
dist_params: {backend: nccl, port: 29511}
"""

LOSS = "pixel_opt: {type: L1Loss, loss_weight: 1.0, reduction: mean}"

# Reflash Dropout: two GPUs, restarts, 2e-4 as text.
REFLASH = f"""
name: lamp_srresnet_dropout
model_type: RealESRNetModel
scale: 4
num_gpu: 2
manual_seed: 7
network_g: {{type: MSRResNet_details_dropoutlast_channel07, num_in_ch: 3, num_out_ch: 3, num_feat: 64, num_block: 16, upscale: 4}}
{DEGRADATION}
datasets:
  train:
    name: attic
    type: RealESRGANDataset
    dataroot_gt: ../attic/HR_sub
    meta_info: ../attic/list.txt
    gt_size: 128
    batch_size_per_gpu: 8
{KERNELS}{LOADER}
  val: {{name: five, type: PairedImageDataset, dataroot_gt: a, dataroot_lq: b, io_backend: {{type: disk}}}}
{REST}
train:
  ema_decay: 0.999
  optim_g: {{type: Adam, lr: 2e-4, weight_decay: 0, betas: [9e-1, 0.99]}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [250000, 5e5], restart_weights: [1, 1]}}
  total_iter: 500000
  warmup_iter: -1
  {LOSS}
"""

# Simple-Align: two views, because the name says so.
ALIGN = (
    REFLASH.replace("lamp_srresnet_dropout", "lamp_srresnet-reg\nweight: 1e0")
    .replace("num_gpu: 2", "num_gpu: 1")
    .replace("details_dropoutlast_channel07", "detailss")
    .replace("name: attic", "name: attic_reg")
)

# Real-ESRGAN's first stage: starts from weights, constant learning rate, larger patches, no lists of betas.
REALESRNET = (
    REFLASH.replace("MSRResNet_details_dropoutlast_channel07", "RRDBNet")
    .replace("num_block: 16, upscale: 4", "num_block: 23, num_grow_ch: 32")
    .replace("gt_size: 128\nqueue", "gt_size: 256\nqueue")
    .replace("pretrain_network_g: ~", "pretrain_network_g: weights/attic.pth")
    .replace("CosineAnnealingRestartLR, periods: [250000, 5e5], restart_weights: [1, 1]", "MultiStepLR, milestones: [1000000], gamma: 0.5")
    .replace("total_iter: 500000", "total_iter: 1e6")
    .replace(", betas: [9e-1, 0.99]", "")
)

# BasicSR: LR pictures from files.
BICUBIC = f"""
name: 004_MSRResNet_x3
model_type: SRModel
scale: 3
num_gpu: auto
manual_seed: 0
network_g: {{type: MSRResNet, num_in_ch: 3, num_out_ch: 3, num_feat: 48, num_block: 12, upscale: 3}}
datasets:
  train:
    name: attic
    type: PairedImageDataset
    dataroot_gt: ../attic/HR_sub
    dataroot_lq: ../attic/LR_sub
    meta_info_file: ../attic/list.txt
    filename_tmpl: '{{}}'
    gt_size: 96
    batch_size_per_gpu: 12
{LOADER}
  val_2: {{name: five, dataroot_gt: a}}
{REST}
train:
  optim_g: {{type: Adam, lr: 1e-4, weight_decay: 0, betas: [0.9, 0.99]}}
  scheduler: {{type: CosineAnnealingRestartLR, periods: [300000], restart_weights: [1], eta_min: 1e-7}}
  total_iter: 300000
  warmup_iter: -1
  {LOSS}
"""

# Real-ESRGAN's second stage.
GAN = (
    REALESRNET.replace("RealESRNetModel", "RealESRGANModel")
    .replace("gt_usm: True", "l1_gt_usm: True\npercep_gt_usm: True\ngan_gt_usm: False")
    .replace("use_rot: False", "use_rot: True")
    .replace("warmup_iter: -1", "warmup_iter: 200\n  optim_d: {type: Adam, lr: 1e-4}\n  net_d_iters: 1")
    + """
  perceptual_opt: {type: PerceptualLoss, layer_weights: {conv1_2: 0.1, conv5_4: 1}, vgg_type: vgg19}
  gan_opt: {type: GANLoss, gan_type: vanilla, loss_weight: 1e-1}
network_d: {type: UNetDiscriminatorSN, num_in_ch: 3, num_feat: 64, skip_connection: True}
"""
)

SOUND = {"reflash": REFLASH, "align": ALIGN, "realesrnet": REALESRNET, "bicubic": BICUBIC}
FREE = ("val.", "logger.", "dist_params.", "datasets.val", "datasets.train.io_backend.")


def read(text, **changes):
    """The values of a file, as PyYAML gives them; `changes` are dotted paths with __ for the dot, None takes the key away."""
    values = yaml.safe_load(text)
    for path, value in changes.items():
        *blocks, last = path.split("__")
        block = values
        for name in blocks:
            block = block[name]
        block[last] = value
        if value is None:
            del block[last]
    return values


def outcome(values):
    """What a file comes to: (values, notes, error)."""
    try:
        return *options.convert(values, "file.yml"), None
    except UserError as error:
        return None, None, str(error)


def leaves(block, above=()):
    """(path, value) of all that is no block."""
    for key, value in block.items():
        if isinstance(value, dict):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


def replaced(values, path, key, value):
    """A copy in which another key and value stand in the place of `path`."""
    copied = copy.deepcopy(values)
    block = copied
    for name in path[:-1]:
        block = block[name]
    del block[path[-1]]
    block[key] = value
    return copied


def others(value):
    """Values that may mean something else."""
    if isinstance(value, list):
        return [list(parts) for parts in zip(*map(others, value), strict=True)]
    if value is None or isinstance(value, bool):
        return ["else" if value is None else not value]
    try:
        return [float(value) + 1000, float(value) / 2]
    except ValueError:
        return [f"{value}else"]


def named_in(notes):
    return {path for note in notes for path in note.split(": ")[0].split(", ")}


def test_an_option_file_is_known_by_its_network():
    assert options.is_options(read(REFLASH))
    assert not options.is_options(TrainConfig().dump())


def test_reflash_dropout():
    values, notes = options.convert(read(REFLASH), "file.yml")
    assert values == {
        "recipe": "custom",
        "scale": 4,
        "seed": 7,
        "steps": 500_000,
        "batch_size": 16,
        "lr_patch": 32,
        "target_usm": True,
        "network": {"name": "srresnet", "channels": 64, "blocks": 16, "upconv1_init": "default"},
        "degradation": {
            "name": "two-order",
            "first": {
                "sinc_probability": 0.1,
                "family_probabilities": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
                "sigma": [0.2, 2.75],
                "resize_probabilities": [0.2, 0.7, 0.1],
                "resize_range": [0.15, 1.5],
                "gaussian_probability": 0.45,
                "gaussian_sigma": [1, 30],
                "poisson_scale": [0.05, 3],
                "gray_probability": 0.4,
                "jpeg_quality": [35, 95],
            },
            "second": {
                "blur_probability": 0.75,
                "sinc_probability": 0.2,
                "family_probabilities": [0.5, 0.2, 0.12, 0.03, 0.12, 0.03],
                "sigma": [0.2, 1.5],
                "resize_probabilities": [0.3, 0.4, 0.3],
                "resize_range": [0.3, 1.2],
                "gaussian_probability": 0.5,
                "gaussian_sigma": [1, 25],
                "poisson_scale": [0.05, 2.5],
                "gray_probability": 0.3,
                "jpeg_quality": [30, 90],
            },
            "final_sinc_probability": 0.85,
        },
        "regularizers": [{"name": "dropout", "p": 0.7, "dimension": "channel", "site": "last"}],
        "learning_rate": 2e-4,
        "betas": [0.9, 0.99],
        "schedule": "restarts",
        "ema": 0.999,
        "save_every": 5000,
        "val_every": 2500,
        "log_every": 50,
    }
    assert "datasets.train.dataroot_gt, datasets.train.meta_info, datasets.train.io_backend.type: pictures are given by --data" in notes
    assert any(note.startswith("network_g.type: ") and "Adaptive Dropout" in note for note in notes)


def test_simple_align():
    values, notes = options.convert(read(ALIGN), "file.yml")
    assert values["regularizers"] == [{"name": "alignment", "weight": 1}]
    assert values["batch_size"] == 8, "HR pictures, not views"
    assert any(note.startswith("name: ") and '"reg"' in note for note in notes)


def test_simple_align_without_the_letters_has_one_view():
    values, notes = options.convert(read(ALIGN, name="lamp_srresnet"), "file.yml")
    assert "regularizers" not in values
    assert any(note.startswith("weight: ") for note in notes)
    assert "regularizers" not in options.convert(read(REFLASH, name="great_region", network_g__type="MSRResNet"), "file.yml")[0]


def test_simple_align_never_ran_on_two_gpus():
    with pytest.raises(UserError, match=r"num_gpu = 2: .*write 1"):
        options.convert(read(ALIGN, num_gpu=2), "file.yml")


def test_realesrnet():
    values, notes = options.convert(read(REALESRNET), "file.yml")
    assert values["network"] == {"name": "rrdbnet", "channels": 64, "blocks": 23, "growth": 32}
    assert (values["lr_patch"], values["steps"], values["schedule"]) == (64, 1_000_000, "constant")
    assert values["betas"] == [0.9, 0.999], "PyTorch's, where the file has none"
    assert {"path.pretrain_network_g", "train.scheduler.gamma", "datasets.train.gt_size"} <= named_in(notes)


def test_bicubic():
    values, notes = options.convert(read(BICUBIC), "file.yml")
    assert values == {
        "recipe": "custom",
        "scale": 3,
        "seed": 0,
        "steps": 300_000,
        "batch_size": 12,
        "lr_patch": 32,
        "network": {"name": "srresnet", "channels": 48, "blocks": 12, "upconv1_init": "scaled"},
        "degradation": {"name": "bicubic"},
        "learning_rate": 1e-4,
        "betas": [0.9, 0.99],
        "schedule": "cosine",
        "ema": 0,
        "save_every": 5000,
        "val_every": 2500,
        "log_every": 50,
    }
    assert {"datasets.train.dataroot_lq", "num_gpu", "train.scheduler.eta_min", "datasets.val_2.name"} <= named_in(notes)


def test_keys_of_the_degradation_are_noted_where_nothing_reads_them():
    values, notes = options.convert({**read(BICUBIC), **yaml.safe_load(DEGRADATION), "gt_size": 192}, "file.yml")
    assert values == options.convert(read(BICUBIC), "file.yml")[0]
    assert {"gt_usm", "resize_range2", "jpeg_range", "gt_size"} <= named_in(notes)


@pytest.mark.parametrize("name", SOUND)
def test_the_values_are_a_configuration(name):
    values, _ = options.convert(read(SOUND[name]), "file.yml")
    built = config.build(TrainConfig, values, "file.yml").dump()

    def arrives(given, found):
        if isinstance(given, dict):
            return all(arrives(value, found[key]) for key, value in given.items())
        return len(given) == len(found) and all(map(arrives, given, found)) if isinstance(given, list) else given == found

    assert arrives(values, built)
    assert json.loads(json.dumps(values)) == values, "plain values alone"


@pytest.mark.parametrize("name", SOUND)
def test_every_key_is_honoured_or_noted_and_never_both(name):
    file = read(SOUND[name])
    values, notes, error = outcome(file)
    assert error is None
    # These notes say how a key was taken, not that it was not.
    noted = named_in(notes) - {"network_g.type", "num_gpu", "train.scheduler.eta_min"}
    assert noted <= {".".join(path) for path, _ in leaves(file)}
    for path, value in leaves(file):
        after = [outcome(replaced(file, path, path[-1], other)) for other in others(value)]
        if ".".join(path) in noted:
            assert all(one[0] == values for one in after), path
        else:
            assert any(one != (values, notes, None) for one in after), path


@pytest.mark.parametrize("name", SOUND)
def test_a_misspelt_key_is_an_error_or_in_free_blocks_a_note(name):
    file = read(SOUND[name])
    for path, value in leaves(file):
        _, notes, error = outcome(replaced(file, path, f"{path[-1]}_", "something" if value is None else value))
        dotted = ".".join(path)
        if dotted.startswith(FREE):
            assert error is None, path
            assert f"{dotted}_" in named_in(notes)
        else:
            # Without the type, the block's other keys cannot be judged.
            assert f"unknown key {dotted}_ = " in error or (path[-1] == "type" and f"{dotted} is missing: " in error)
            assert "did you mean" in error or "there is: " in error


@pytest.mark.parametrize("odd", [[], [None, "x"], {"a": {"b": 1}}, "x", -1, 3.5, True, None], ids=str)
def test_odd_values_end_in_an_answer_or_in_one_line(odd):
    for text in (REFLASH, ALIGN, BICUBIC):
        file = read(text)
        for path, _ in leaves(file):
            values, _, error = outcome(replaced(file, path, path[-1], odd))
            assert (values is not None) if error is None else error.startswith("file.yml: ") and "\n" not in error


@pytest.mark.parametrize("name", SOUND)
def test_numbers_may_be_text_everywhere(name):
    def as_text(value):
        if isinstance(value, dict):
            return {key: as_text(part) for key, part in value.items()}
        if isinstance(value, list):
            return [as_text(part) for part in value]
        return f"{float(value):e}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    file = read(SOUND[name])
    assert as_text(file)["scale"] in ("3.000000e+00", "4.000000e+00")
    assert options.convert(as_text(file), "file.yml") == options.convert(file, "file.yml")


def test_one_error_names_all_that_would_change_the_result():
    file = read(GAN, scale=3, network_g__num_feet=64, network_g__scale=4, datasets__train__blur_kernel_size2=31)
    _, _, error = outcome(file)
    assert error.startswith("file.yml: 10 keys cannot be honoured: ")
    assert "\n" not in error
    for expected in (
        "model_type = 'RealESRGANModel': training is on pixels alone, did you mean 'RealESRNetModel'?",
        "network_d = {'type': 'UNetDiscriminatorSN', ",
        "train.gan_opt = {'type': 'GANLoss', ",
        "train.perceptual_opt = {",
        "datasets.train.use_rot = True: pictures are not rotated: write false",
        "datasets.train.blur_kernel_size2 = 31: kernels have 7 to 21 taps, on a grid of 21: write 21",
        "train.warmup_iter = 200: there is no warm-up: write -1",
        "network_g.scale = 4: scale at the top level says otherwise: write 3",
        "gt_size = 256: write a multiple of 3",
        "unknown key network_g.num_feet = 64: did you mean 'num_feat'?",
    ):
        assert expected in error
    # Every other key is judged too: mended, the file is read.
    mended = read(GAN, model_type="RealESRNetModel", network_d=None, train__gan_opt=None, train__perceptual_opt=None)
    mended["datasets"]["train"]["use_rot"] = False
    mended["train"]["warmup_iter"] = -1
    values, notes = options.convert(mended, "file.yml")
    assert values["target_usm"] is True
    assert {"percep_gt_usm", "gan_gt_usm", "train.optim_d.type", "train.optim_d.lr", "train.net_d_iters"} <= named_in(notes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": None}, "model_type is missing: "),
        ({"model_type": "SRModel"}, "datasets.train.type = 'RealESRGANDataset': SRModel goes with PairedImageDataset"),
        ({"scale": None}, "scale is missing: "),
        ({"train__total_iter": 0}, "train.total_iter = 0: write a whole number"),
        ({"train__optim_g__lr": None}, "train.optim_g.lr is missing"),
        ({"train__optim_g__weight_decay": "1e-4"}, "train.optim_g.weight_decay = 0.0001: training has no weight decay: write 0"),
        ({"train__optim_g__type": "AdamW"}, "train.optim_g.type = 'AdamW': "),
        ({"train__pixel_opt": {"type": "MSELoss"}}, "train.pixel_opt.type = 'MSELoss': the pixel loss is L1"),
        ({"train__pixel_opt": None}, "train.pixel_opt.type is missing: "),
        ({"train__pixel_opt__loss_weight": 0.5}, "train.pixel_opt.loss_weight = 0.5: "),
        ({"datasets__train__use_hflip": False}, "datasets.train.use_hflip = False: "),
        ({"datasets__train__kernel_list2": ["aniso", "iso"]}, "datasets.train.kernel_list2 = ['aniso', 'iso']: "),
        ({"datasets__train__betag_range": [0.5, 8]}, "datasets.train.betag_range = [0.5, 8]: "),
        ({"datasets__train__batch_size_per_gpu": "many"}, "datasets.train.batch_size_per_gpu = 'many': "),
        ({"high_order_degradation": False}, "high_order_degradation = False: "),
        ({"l1_gt_usm": False}, "l1_gt_usm = False: "),
        ({"network_g__type": "EDSR"}, "network_g.type = 'EDSR': there is: "),
        ({"network_g__type": "MSRResnet"}, "network_g.type = 'MSRResnet': did you mean 'MSRResNet'?"),
        ({"network_g__num_in_ch": 1}, "network_g.num_in_ch = 1: "),
        ({"network_g__num_block": 8}, "network_g.num_block = 8: MSRResNet_details has 16 blocks"),
        ({"network_g__upscale": 2}, "network_g.upscale = 2: "),
        ({"network_g__num_grow_ch": 32}, "unknown key network_g.num_grow_ch = 32: "),
        ({"trian": {"a": 1, "b": 2}}, "one key cannot be honoured: unknown key trian: did you mean 'train'?"),
        ({"datasets__trian": {"name": "x"}}, "unknown key datasets.trian: did you mean 'train'?"),
        ({"path__resume_stat": "x"}, "unknown key path.resume_stat = 'x': did you mean 'resume_state'?"),
        ({"manual_seed": {"a": 1}}, "unknown key manual_seed.a = 1: a value is expected, not keys"),
        ({"path": "here"}, "path = 'here': keys are expected"),
    ],
)
def test_what_cannot_be_honoured_is_refused(changes, expected):
    error = outcome(read(REFLASH, **changes))[2]
    assert error is not None
    assert expected in error


def test_a_file_for_testing_is_sent_to_the_benchmark():
    with pytest.raises(UserError, match="wildsr bench"):
        options.convert(read(REFLASH, train=None), "file.yml")


def test_empty_blocks_are_as_good_as_none():
    file = {**read(REFLASH), "val": None, "logger": None, "path": {}, "network_d": None}
    values, _ = options.convert(file, "file.yml")
    assert "val_every" not in values
    assert "save_every" not in values


@pytest.mark.parametrize(
    ("kind", "init", "dropouts"),
    [
        ("MSRResNet", "scaled", []),
        ("MSRResNet_details", "default", []),
        ("MSRResNet_detailss", "default", []),
        ("MSRResNet_dropoutlast_channel07", "scaled", [("last", "channel", 0.7)]),
        ("MSRResNet_dropoutlast_element07", "scaled", [("last", "element", 0.7)]),
        ("MSRResNet_details_dropoutlast_element07", "default", [("last", "element", 0.7)]),
        ("MSRResNet_details_droplast_channel05", "default", [("last", "channel", 0.5)]),
        ("MSRResNet_details_dropb4_channel02", "default", [("block4", "channel", 0.2)]),
        ("MSRResNet_details_dropb16_element02", "default", [("block16", "element", 0.2)]),
        ("MSRResNet_details_dropb12last_channel03", "default", [("block12", "channel", 0.3), ("last", "channel", 0.3)]),
    ],
)
def test_the_class_name_holds_initialisation_and_dropout(kind, init, dropouts):
    values, notes = options.convert(read(REFLASH, network_g__type=kind), "file.yml")
    assert values["network"]["upconv1_init"] == init
    assert [(one["site"], one["dimension"], one["p"]) for one in values.get("regularizers", [])] == dropouts
    assert "network_g.type" not in named_in(notes), "only one class has two meanings"
    config.build(TrainConfig, values)


@pytest.mark.parametrize("kind", ["MSRResNet_details_woGR", "MSRResNet_details_drop_channel07", "MSRResNet_details_drophrlast_channel01"])
def test_classes_that_nothing_here_equals_are_refused(kind):
    assert f"network_g.type = '{kind}': did you mean" in outcome(read(REFLASH, network_g__type=kind))[2]


def network(**keys):
    return options.convert({**read(REALESRNET), "network_g": keys}, "file.yml")[0]


def test_other_networks():
    assert network(type="RRDBNet_dropoutlast_channel05")["regularizers"] == [
        {"name": "dropout", "p": 0.5, "dimension": "channel", "site": "last"}
    ]
    assert network(type="SRVGGNetCompact", num_conv=32, act_type="prelu")["network"] == {"name": "compact", "channels": 64, "blocks": 32}
    published = network(type="SwinIR", upsampler="pixelshuffle", embed_dim=60, depths=[6, 6], num_heads=[6, 6], window_size=8, img_size=48)
    assert published["network"] == {
        "name": "swinir",
        "upsampler": "pixelshuffle",
        "embed_dim": 60,
        "depths": [6, 6],
        "heads": [6, 6],
        "window": 8,
        "mlp_ratio": 4,
        "img_size": 48,
        "drop_path": 0.1,
    }
    config.build(TrainConfig, published)
    with pytest.raises(UserError, match=r"network_g.act_type = 'leakyrelu': "):
        network(type="SRVGGNetCompact", act_type="leakyrelu")
    with pytest.raises(UserError, match=r"network_g.resi_connection = '3conv': "):
        network(type="SwinIR", resi_connection="3conv")


def test_rcan_is_trained_on_pixels_up_to_one():
    rcan = {"type": "RCAN", "num_feat": 32, "num_group": 3, "num_block": 5, "squeeze_factor": 8}
    with pytest.raises(UserError, match=r"network_g.img_range \(left out\) = 255: .* write 1; network_g.rgb_mean \(left out\) = "):
        network(**rcan)
    values, notes = options.convert({**read(REALESRNET), "network_g": {**rcan, "img_range": 1.0, "rgb_mean": [0, 0, 0]}}, "file.yml")
    assert values["network"] == {"name": "rcan", "channels": 32, "groups": 3, "blocks": 5, "reduction": 8}
    assert "network_g.type" in named_in(notes)
    config.build(TrainConfig, values)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        ({"type": "CosineAnnealingRestartLR", "periods": [500000]}, "cosine"),
        ({"type": "CosineAnnealingRestartLR", "periods": ["5e5"], "restart_weights": [1], "eta_min": 0}, "cosine"),
        ({"type": "CosineAnnealingRestartLR", "periods": [250000, 500000], "restart_weights": [1, 1.0]}, "restarts"),
        ({"type": "MultiStepLR", "milestones": [500000, "1e6"], "gamma": 0.5}, "constant"),
        ({"type": "MultiStepRestartLR", "milestones": []}, "constant"),
        ({"type": "CosineAnnealingRestartLR", "periods": [250000, 250000], "restart_weights": [1, 1]}, "train.scheduler.periods = [2"),
        ({"type": "CosineAnnealingRestartLR", "periods": 500000}, "train.scheduler.periods = 500000: "),
        ({"type": "CosineAnnealingRestartLR", "periods": [250000, 500000]}, "train.scheduler.restart_weights (left out) = [1]: "),
        ({"type": "CosineAnnealingRestartLR", "periods": [500000], "restart_weights": [0.5]}, "train.scheduler.restart_weights = [0.5]: "),
        ({"type": "CosineAnnealingRestartLR", "periods": [500000], "eta_min": "1e-5"}, "train.scheduler.eta_min = 1e-05: "),
        ({"type": "MultiStepLR", "milestones": [250000, 400000], "gamma": 0.5}, "train.scheduler.milestones = [250000, 400000]: "),
        ({"type": "MultiStepLR"}, "train.scheduler.milestones is missing: "),
        ({"type": "CosineAnnealingLR", "T_max": 1}, "train.scheduler.type = 'CosineAnnealingLR': did you mean 'CosineAnnealingRestartLR'?"),
    ],
)
def test_schedules(scheduler, expected):
    values, _, error = outcome(read(REFLASH, train__scheduler=scheduler))
    assert (values["schedule"] == expected) if error is None else (expected in error)
