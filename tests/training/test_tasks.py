"""Synthetic tasks as data, and as a user meets them on the command line."""

import json
import re
from pathlib import Path

import pytest
import torch

import nestdsl
from nestdsl.cli.main import main
from nestdsl.training import checkpoint
from nestdsl.training.data.sources import read_data
from nestdsl.training.evaluate import held_out_figures
from tests.training.models import tiny_model
from tests.training.test_data import errors

LABELS = """
model labels(dim = 8) {
  input ids(2)
  level memory = matrix(2) { learn k -> h  every 1 token, chunk 4 }
  flow h = in -> embedding(dim) -> conv(2)
  flow k = h -> l2_normalize(2)
  flow out = h + memory(k) -> silu -> linear(2)
  train { optimizer adamw(lr = 1e-2) }
}
"""
VECTORS = """
model vectors(dim = 16) {
  input vectors(16)
  flow out = in -> linear(dim) -> tanh -> conv(3) -> linear(16)
  train { objective mse  optimizer adamw(lr = 1e-2) }
}
"""
PARITY = ("labels.nest", "--data", "task:parity")
ROTATIONS = ("vectors.nest", "--data", "task:rotations", "--tokens", "32")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("labels.nest").write_text(LABELS)
    Path("vectors.nest").write_text(VECTORS)
    return tmp_path


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main(arguments)
    return status, *capsys.readouterr()


def train(capsys, *arguments: str) -> tuple[int, str, str]:
    return call(capsys, "train", *arguments, "--eager", "--batch", "4")


def metrics(out: str) -> list[dict[str, float]]:
    return [json.loads(line) for line in Path(out, "metrics.jsonl").read_text().splitlines()]


def test_batches_hold_strings_and_labels() -> None:
    data = read_data("task:parity")
    assert data.tokens == 50
    inputs, targets = data.batch(3, 1, 16, 50)
    assert inputs.shape == targets.shape == (16, 50)
    is_there = targets != -100
    assert torch.equal(is_there, is_there.cumprod(1).bool())  # what is missing is at the end
    assert torch.equal(targets[is_there], (1 - inputs.cumsum(1) % 2)[is_there])
    assert not inputs[~is_there].any()
    assert torch.equal(data.batch(3, 1, 16, 50)[0], inputs)
    assert not torch.equal(data.batch(4, 1, 16, 50)[0], inputs)
    assert not torch.equal(data.batch(3, 2, 16, 50)[0], inputs)


def test_held_out_bins_have_lengths_of_their_own() -> None:
    near, far = read_data("task:parity").held_out(5, 50)
    assert (near.name, far.name) == ("bin0", "bin1")
    assert near.inputs.shape == (5, 50) and far.inputs.shape == (5, 100)
    near, far = read_data("task:anbn").held_out(None, 100)
    assert near.inputs.shape == (50, 100) and far.inputs.shape == (50, 200)


def test_fingerprints_are_of_what_is_drawn() -> None:
    found = {read_data(f"task:{name}").fingerprint for name in ("parity", "aa", "rotations")}
    assert len(found) == 3
    assert read_data("task:aa").fingerprint == read_data("task:aa").fingerprint


def test_held_out_rotations_are_in_no_batch() -> None:
    data = read_data("task:rotations")
    (part,) = data.held_out(4, 8)
    assert torch.equal(part.inputs, data.held_out(None, 8)[0].inputs[:4])
    for step in range(4):
        assert not torch.equal(data.batch(step, 0, 4, 8)[0], part.inputs)


class _Labels(torch.nn.Module):
    """Knows the labels of parity up to a length, and says odd beyond it."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(9.0))
        self.tokens = tokens
        self.plan = tiny_model().plan

    def forward(self, inputs):
        even = (1 - inputs.cumsum(1) % 2).float()
        even[:, self.tokens :] = 0
        return self.scale * torch.stack((1 - even, even), -1), {}

    def loss(self, inputs, targets):
        return torch.nn.functional.cross_entropy(self(inputs)[0].flatten(0, 1), targets.flatten())

    def carries_state(self) -> bool:
        return False


def test_a_string_is_solved_if_every_label_is_right() -> None:
    data = read_data("task:parity")
    figures = held_out_figures(_Labels(100), data, 50, 8, 50)
    assert figures["bin0_exact_match"] == figures["bin1_exact_match"] == 100
    assert figures["bin0_bits_per_label"] < 0.01
    _, far = data.held_out(50, 50)
    figures = held_out_figures(_Labels(60), data, 50, 8, 50)
    assert figures["bin0_exact_match"] == 100
    solved = [not (row[60:] == 1).any() for row in far.targets]
    assert figures["bin1_exact_match"] == pytest.approx(100 * sum(solved) / 50)
    # The mean is over labels, however they are dealt out to batches.
    batches = [held_out_figures(_Labels(60), data, 50, batch, 50)["bin1_bits_per_label"] for batch in (7, 50)]
    assert batches[0] == pytest.approx(batches[1], rel=1e-5)


def test_train_resume_and_eval_of_a_language(capsys) -> None:
    status, out, err = train(capsys, *PARITY, "--steps", "6", "--out", "whole", "--evaluate-every", "3")
    assert status == 0, err
    figure = r"bin\d (bits per label: \S+|exact match: \S+ %) before, \S+( %)? after"
    assert re.fullmatch(rf"({figure}; ){{3}}{figure} 6 steps \(\d+ s\); run in whole\n", out)
    assert "task:parity: zeros and an even number of ones; is it even so far? Strings: 10,000 of " in err
    assert "bin0 exact match" in err
    names = {f"bin{bin}_{measure}" for bin in (0, 1) for measure in ("bits_per_label", "exact_match")}
    lines = metrics("whole")
    assert set(lines[0]) == {"step", *names}
    assert set(lines[1]) == {"step", "loss_bits_per_label", "gradient_norm", "rate_scale"}
    assert set(lines[3]) == set(lines[1]) | names
    assert checkpoint.load(Path("whole")).settings.tokens == 50

    cut = (*PARITY, "--steps", "6", "--out", "cut", "--evaluate-every", "3")
    assert train(capsys, *cut, "--until", "4")[0] == 0
    status, out, _ = call(capsys, "train", "labels.nest", "--resume", "--out", "cut", "--quiet")
    assert status == 0
    assert metrics("cut") == metrics("whole")
    one, two = (Path(name, "checkpoint.safetensors").read_bytes() for name in ("whole", "cut"))
    assert one == two

    status, out, _ = call(capsys, "eval", "cut", "--sequences", "32")
    assert status == 0
    last = lines[-1]
    assert f"bin0 bits per label: {last['bin0_bits_per_label']:.3f}" in out
    assert f"bin1 exact match: {last['bin1_exact_match']:.1f} %" in out
    assert out.endswith("on task:parity, the data of the run, after 6 steps of training\n")
    status, out, _ = call(capsys, "eval", "cut", "--data", "task:abab")  # has as many symbols and labels
    assert status == 0
    assert "on task:abab, after 6 steps" in out


def test_train_and_eval_of_vectors(capsys) -> None:
    status, out, err = train(capsys, *ROTATIONS, "--steps", "40", "--out", "run")
    assert status == 0, err
    found = re.match(r"held-out squared error: (\S+) before, (\S+) after 40 steps", out)
    assert found
    assert float(found[2]) < float(found[1])
    assert "loss_squared_error" in metrics("run")[1]
    # Without a memory the best answer is the mean, 0.
    assert 0.9 < float(found[2]) < 1.3
    status, out, _ = call(capsys, "eval", "run", "--sequences", "32")
    assert f"held-out squared error: {found[2]} on task:rotations" in out
    status, _, err = call(capsys, "generate", "run", "--prompt", "x")
    assert status == 1
    assert "error[N0501]: the run in `run` was trained on `task:rotations`: what it makes is no text" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("labels.nest", "--data", "task:paritty"), "there is no task `paritty`"),
        (("labels.nest", "--data", "task:paritty"), "did you mean `parity`?"),
        (("labels.nest", "--data", "task:"), "there are `parity`, `aa`, "),
        (("labels.nest", "--data", "task:recall"), "there is no task `recall`"),
        ((*PARITY, "--tokens", "32"), "the sequences of `task:parity` have 50 tokens, not 32"),
        (("labels.nest", "--data", "task:shuffle2"), "write `input ids(4)`"),
        (("labels.nest", "--data", "task:anbn"), "let the last level before `out` be `linear(3)`"),
        (("labels.nest", "--data", "task:rotations"), "write `input vectors(16)`"),
        (("vectors.nest", "--data", "task:parity"), "has `input vectors(16)`"),
        (("vectors.nest", "--data", "task:parity"), "write `input ids(2)`"),
        ((*ROTATIONS, "--set", "dim=0"), "dim"),
    ],
)
def test_a_mistake_is_a_diagnostic(capsys, arguments, message) -> None:
    status, out, err = train(capsys, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_the_objective_has_to_fit_the_targets() -> None:
    labels = nestdsl.parse(LABELS.replace("train {", "train { objective mse"))
    assert "a label is a choice" in errors(
        "N0501", lambda: nestdsl.train(labels.compile(compile=False), "task:parity")
    )
    squares = VECTORS.replace("objective mse", "objective cross_entropy")
    vectors = nestdsl.parse(squares).compile(compile=False)
    assert "the targets of `task:rotations` are vectors" in errors(
        "N0501", lambda: nestdsl.train(vectors, "task:rotations")
    )


def test_the_python_face_measures(tmp_path) -> None:
    model = tiny_model(size=2, output=2)
    result = nestdsl.train(model, "task:aa", 2, tmp_path / "run", batch=4, quiet=True)
    figures = nestdsl.measure(model, "task:aa", batch=4)
    assert figures == result.after
    assert nestdsl.evaluate(model, "task:aa", batch=4) == figures["bin0_bits_per_label"]
    assert "have 50 tokens, not 9" in errors("N0501", lambda: nestdsl.measure(model, "task:aa", tokens=9))
