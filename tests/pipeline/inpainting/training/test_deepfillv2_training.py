from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from support.drawn_memes import scene

pytest.importorskip("cv2", reason="needs opencv")
torch = pytest.importorskip("torch", reason="needs torch")

from affectflow.pipeline.cli.main import app  # noqa: E402
from affectflow.pipeline.errors import ConfigError, DatasetError, WeightsError  # noqa: E402
from affectflow.pipeline.inpainting.inpainter import InpainterConfig, open_inpainter  # noqa: E402
from affectflow.pipeline.inpainting.training import loop, validation  # noqa: E402
from affectflow.pipeline.inpainting.training.crops import Crops, find_pictures  # noqa: E402
from affectflow.pipeline.inpainting.training.loop import train, update  # noqa: E402
from affectflow.pipeline.inpainting.training.state import (  # noqa: E402
    TrainingConfig,
    TrainingState,
)

SMALL = {
    "side": 32,
    "width": 4,
    "batch_size": 2,
    "validate_every": 2,
    "validation_crops": 3,
    "device": "cpu",
    "held_out": 0.3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(12):
        Image.fromarray(scene(40 + 3 * number, 50)).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    Image.fromarray(scene(9, 20)).save(folder / "small.png")
    return folder


def ignore(entry):
    pass


def test_resuming_is_no_interruption(folder, tmp_path):
    straight = train(folder, tmp_path / "a", TrainingConfig(steps=4, **SMALL), ignore)
    train(folder, tmp_path / "b", TrainingConfig(steps=2, **SMALL), ignore)
    resumed = train(folder, tmp_path / "b", TrainingConfig(steps=4, **SMALL), ignore)
    assert straight == resumed
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("a", "b")]
    assert states[0]["step"] == states[1]["step"] == 4
    for part in ("generator", "discriminator", "averaged"):
        for key, value in states[0][part].items():
            assert torch.equal(value, states[1][part][key]), key


def test_a_training_with_other_settings_is_not_continued(folder, tmp_path):
    train(folder, tmp_path, TrainingConfig(steps=1, **SMALL), ignore)
    changed = TrainingConfig(steps=2, learning_rate=0.01, **SMALL)
    with pytest.raises(ConfigError, match=r"begun with learning_rate = 0\.0001, not 0\.01"):
        train(folder, tmp_path, changed, ignore)
    state = tmp_path / "state.pt"
    whole = state.read_bytes()
    same = TrainingConfig(steps=2, **SMALL)
    torch.save([1], state)
    for content in (whole[:1000], b"", b"<html>gone</html>", state.read_bytes()):
        state.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot be resumed from") as caught:
            train(folder, tmp_path, same, ignore)
        assert "weights_only" not in str(caught.value)


def test_the_loss_of_one_batch_falls():
    config = TrainingConfig(steps=1, learning_rate=2e-3, adversarial=0.01, **SMALL)
    state = TrainingState(config, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 1, 1, generator=generator).expand(2, 3, 32, 32) * 1.5 - 0.7
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 4:25] = 1
    losses = [update(state, image, mask)["final"] for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_the_discriminator_sees_the_completed_picture(monkeypatch):
    state = TrainingState(TrainingConfig(**SMALL), torch.device("cpu"))
    seen = []
    forward = state.discriminator.forward
    monkeypatch.setattr(
        state.discriminator, "forward", lambda x, m: seen.append((x, m)) or forward(x, m)
    )
    image, mask = torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32)
    mask[0, :, 4:20, 4:20] = mask[1, :, 9:30, 2:8] = 1
    update(state, image, mask)
    (both, _), (completed, _) = seen
    assert torch.equal(both[:2], image)
    for false in (both[2:], completed):
        known = (mask == 0).expand_as(image)
        assert torch.equal(false[known], image[known])
        assert not torch.equal(false, image)


def test_the_average_follows():
    config = TrainingConfig(**SMALL | {"average": 0.5})
    state = TrainingState(config, torch.device("cpu"))
    state.step = 1000
    before = state.averaged.coarse[0].bias.clone()
    with torch.no_grad():
        state.generator.coarse[0].bias += 1
    state.average()
    torch.testing.assert_close(state.averaged.coarse[0].bias, before + 0.5)


def test_crops_follow_from_seed_and_step(folder):
    pictures = find_pictures(folder, 0.3)
    assert not set(pictures.training) & set(pictures.held_out)
    assert len(pictures.training) + len(pictures.held_out) == 14
    one, other = (Crops(pictures.training, 32, "both", 5) for _ in range(2))
    first, _ = one.batch(0, 4)
    seventh = one.batch(7, 4)
    for got, wanted in zip(other.batch(7, 4), seventh, strict=True):
        assert torch.equal(got, wanted)
    assert not torch.equal(first, seventh[0])
    assert first.shape == (4, 32, 32, 3)
    assert set(seventh[1].unique().tolist()) == {0.0, 1.0}


def test_crops_are_flipped_half_of_the_time(folder):
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = 255
    path = folder.parent / "half.png"
    Image.fromarray(image).save(path)
    pictures, _ = Crops([path], 32, "text_like", 0).batch(0, 40)
    flipped = (pictures[:, 0, 0, 0] == 0).float().mean().item()
    assert 0.25 < flipped < 0.75


def test_unreadable_pictures_are_passed_over(folder, tmp_path):
    crops = Crops([folder / "broken.png", folder / "3.png"], 32, "both", 0)
    assert crops.batch(0, 3)[0].float().std() > 0
    with pytest.raises(DatasetError, match="none of the pictures can be read"):
        Crops([folder / "broken.png"], 32, "both", 0).batch(0, 1)
    with pytest.raises(DatasetError, match="0 pictures to train on"):
        find_pictures(tmp_path, 0.1)


def test_distances():
    pictures = torch.full((1, 12, 12, 3), 100, dtype=torch.uint8)
    masks = torch.zeros(1, 1, 12, 12)
    masks[:, :, :4] = 1
    filled = pictures.clone()
    filled[:, 4:] = 0
    assert validation.distances(filled, pictures, masks)["l1"] == 0
    filled[:, :4] = 151
    found = validation.distances(filled, pictures, masks)
    assert found["l1"] == pytest.approx(0.2)
    assert found["psnr"] == pytest.approx(-20 * np.log10(0.2))
    baselines = validation.of_baselines(pictures, masks)
    assert baselines["mean"]["l1"] < 0.01
    assert set(baselines) == {"mean", "telea", "navier_stokes"}


def test_structural_similarity():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randint(0, 256, (2, 14, 13, 3), generator=generator, dtype=torch.uint8)
    assert validation.ssim(pictures, pictures).item() == pytest.approx(1)
    black, white = torch.zeros_like(pictures), torch.full_like(pictures, 255)
    # Constant pictures: structure is alike, light is C1 / (1 + C1).
    assert validation.ssim(black, white).item() == pytest.approx(1e-4 / (1 + 1e-4))
    # One window of one channel, by the definition.
    one, other = pictures[:1, :11, :11], pictures[1:, :11, :11]
    wanted = []
    for channel in range(3):
        a, b = (x[0, :, :, channel].double().numpy() / 255 for x in (one, other))
        weights = np.exp(-((np.arange(11) - 5) ** 2) / 4.5)
        weights = np.outer(weights, weights) / weights.sum() ** 2
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        spread = (weights * (a - mean_a) ** 2).sum() + (weights * (b - mean_b) ** 2).sum()
        together = (weights * (a - mean_a) * (b - mean_b)).sum()
        light = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        wanted.append(light * (2 * together + 9e-4) / (spread + 9e-4))
    assert validation.ssim(one, other).item() == pytest.approx(np.mean(wanted))


def test_sample_grids_go_to_tensorboard_where_it_is(folder, tmp_path, monkeypatch):
    written = []

    class Board:
        def add_image(self, name, grid, step, dataformats):
            written.append((name, grid.shape, step, dataformats))

        def add_scalar(self, name, value, step):
            written.append((name, step))

        def flush(self):
            pass

    monkeypatch.setattr(loop, "_tensorboard", lambda out: Board())
    train(folder, tmp_path, TrainingConfig(steps=1, **SMALL), ignore)
    assert ("samples", (3 * 32, 3 * 32, 3), 1, "HWC") in written
    assert ("held_out/l1", 1) in written


def test_the_command_trains_and_its_weights_are_used(folder, tmp_path):
    from typer.testing import CliRunner

    settings = [f"--set=deepfillv2.{key}={value}" for key, value in SMALL.items()]
    command = ["train", "deepfillv2", "--images", str(folder), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, [*command, "--set=deepfillv2.steps=2", *settings, "--json"])
    assert done.exit_code == 0, done.output
    last = json.loads(done.stdout)
    assert last["step"] == 2
    assert 0 < last["l1"] < 1
    log = (tmp_path / "out" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [0, 2]
    assert Image.open(tmp_path / "out" / "samples.png").size == (96, 96)
    weights = {"file": str(tmp_path / "out" / "generator.safetensors")}
    inpainter = open_inpainter(
        InpainterConfig(backend="deepfillv2", device="cpu", deepfillv2=weights)
    )
    image, mask = scene(40, 50), np.zeros((40, 50), np.uint8)
    mask[10:20, 10:30] = 255
    (filled,) = inpainter.fill([image], [mask])
    np.testing.assert_array_equal(filled[mask == 0], image[mask == 0])


def test_mistakes_on_the_command_line_are_one_line(folder, tmp_path):
    from typer.testing import CliRunner

    for setting, message in (
        ("other.x=1", "expected deepfillv2.key=value"),
        ("deepfillv2.side=33", "multiple of 8"),
        ("deepfillv2.speed=1", "unknown key 'speed'"),
    ):
        command = ["train", "deepfillv2", "--images", str(folder), "--out", str(tmp_path)]
        done = CliRunner().invoke(app, [*command, "--set", setting])
        assert isinstance(done.exception, ConfigError)
        assert message in str(done.exception)
