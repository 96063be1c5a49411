"""Runs: the same numbers each time, interrupted or not, and a clear end when something is wrong."""

import dataclasses
import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch

import nestdsl
import nestdsl.training.checkpoint
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.interrupts import Interrupted
from nestdsl.plan.lower import lower
from nestdsl.runtime.build import build
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.source import Source
from nestdsl.training import checkpoint, loop
from nestdsl.training.data.text import ByteData, read_text
from nestdsl.training.loop import proceed, resume, start, train
from nestdsl.training.progress import Reporter
from nestdsl.training.settings import Settings
from tests.training.models import ADAMW, changed, tiny_model
from tests.training.test_data import errors

SETTINGS = Settings(
    steps=10, batch=2, tokens=8, warmup=0.2, evaluate_every=4, checkpoint_every=3, held_out_sequences=3
)


@pytest.fixture(scope="module")
def text(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 20)
    return str(path)


@pytest.fixture
def data(text) -> ByteData:
    return read_text(text)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in model.state_dict().items()}


def metrics(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def test_a_run_lowers_the_held_out_loss_and_leaves_its_files(text, tmp_path) -> None:
    model = tiny_model(slow_period=2)
    result = train(model, text, 40, tmp_path / "run", batch=4, tokens=16, quiet=True)
    assert result.step == 40
    assert result.held_out_after < result.held_out_before - 1
    assert f"{result.held_out_before:.3f} before, {result.held_out_after:.3f} after 40 steps" in str(result)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint-0.safetensors",
        "checkpoint.safetensors",
        "metrics.jsonl",
        "plan.yaml",
    ]
    lines = metrics(tmp_path / "run")
    assert [line["step"] for line in lines] == list(range(41))
    assert lines[0]["held_out_bits_per_byte"] == result.held_out_before
    assert lines[-1]["held_out_bits_per_byte"] == result.held_out_after
    assert lines[1]["loss_bits_per_byte"] == pytest.approx(lines[0]["held_out_bits_per_byte"], rel=0.1)
    assert lines[-1]["rate_scale"] == pytest.approx(0.1)
    assert max(line.get("rate_scale", 0) for line in lines) == 1.0


def test_two_runs_give_the_same_numbers(data, tmp_path) -> None:
    runs = []
    for name in ("one", "two"):
        model = tiny_model()
        start(model, data, tmp_path / name, SETTINGS, Reporter())
        runs.append((weights(model), (tmp_path / name / "metrics.jsonl").read_bytes()))
        torch.rand(3)  # what the caller draws changes nothing
    assert runs[0][1] == runs[1][1]
    assert all(torch.equal(weight, runs[1][0][name]) for name, weight in runs[0][0].items())
    other = tiny_model()
    start(other, data, tmp_path / "three", dataclasses.replace(SETTINGS, seed=1), Reporter())
    assert not torch.equal(other.head.weight, runs[0][0]["head.weight"])


def test_the_random_numbers_of_the_caller_are_left_alone(data, tmp_path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    start(tiny_model(), data, tmp_path / "run", SETTINGS, Reporter())
    assert torch.rand(1) == expected


@pytest.mark.parametrize("until", [0, 5, 6, 8])
def test_a_resumed_run_is_the_run_that_was_never_interrupted(data, tmp_path, until) -> None:
    """Steps 5 and 6 are in the middle of the slow level's period of 4."""
    straight, first, second = tiny_model(), tiny_model(), tiny_model(seed=3)
    expected = start(straight, data, tmp_path / "straight", SETTINGS, Reporter())
    start(first, data, tmp_path / "run", SETTINGS, Reporter(), until=until)
    assert checkpoint.load(tmp_path / "run").progress.step == until
    result = proceed(second, data, checkpoint.load(tmp_path / "run"), {}, Reporter())
    for name, weight in weights(straight).items():
        assert torch.equal(weight, weights(second)[name]), name
    assert metrics(tmp_path / "run") == metrics(tmp_path / "straight")
    assert (result.held_out_before, result.held_out_after) == (
        expected.held_out_before,
        expected.held_out_after,
    )
    saved, ended = checkpoint.load(tmp_path / "run"), checkpoint.load(tmp_path / "straight")
    assert saved.optimizer_state.keys() == ended.optimizer_state.keys()
    for name, tensor in saved.optimizer_state.items():
        assert torch.equal(tensor, ended.optimizer_state[name]), name


class _Interrupt(Reporter):
    def __init__(self, step: int) -> None:
        self.step = step

    def moved(self, step: int, loss: float) -> None:
        if step == self.step:
            raise KeyboardInterrupt


def test_an_interrupted_run_continues_from_its_last_checkpoint(data, tmp_path) -> None:
    straight, model = tiny_model(), tiny_model()
    start(straight, data, tmp_path / "straight", SETTINGS, Reporter())
    with pytest.raises(KeyboardInterrupt):
        start(model, data, tmp_path / "run", SETTINGS, _Interrupt(5))
    assert checkpoint.load(tmp_path / "run").progress.step == 3
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # as a kill in the middle of a line would leave it
    again = tiny_model()
    proceed(again, data, checkpoint.load(tmp_path / "run"), {}, Reporter())
    assert metrics(tmp_path / "run") == metrics(tmp_path / "straight")
    assert torch.equal(again.slow.weight, straight.slow.weight)


class _Signal(Reporter):
    """Presses Ctrl-C while a step is under way."""

    def __init__(self, step: int, times: int = 1) -> None:
        self.step, self.times = step, times

    def moved(self, step: int, loss: float) -> None:
        if step == self.step:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("interrupts_arrive")
@pytest.mark.parametrize("step", [2, 5, 8, 10])
def test_an_interrupted_run_ends_its_step_and_leaves_it_as_a_checkpoint(data, tmp_path, step) -> None:
    straight = tiny_model()
    start(straight, data, tmp_path / "straight", SETTINGS, Reporter())
    with pytest.raises(Interrupted) as raised:
        start(tiny_model(), data, tmp_path / "run", SETTINGS, _Signal(step))
    assert (str(raised.value), raised.value.step) == (f"interrupted at step {step}", step)
    assert checkpoint.load(tmp_path / "run").progress.step == step
    again = tiny_model()
    resume(again, out=tmp_path / "run", quiet=True)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "straight")
    assert torch.equal(again.slow.weight, straight.slow.weight)


@pytest.mark.usefixtures("interrupts_arrive")
@pytest.mark.parametrize(("signals", "saved"), [(_Signal(1), 0), (_Signal(5, times=2), 3)])
def test_an_interrupt_of_the_first_step_or_a_second_one_is_raised_at_once(
    data, tmp_path, signals, saved
) -> None:
    with pytest.raises(Interrupted, match=f"at step {saved}"):
        start(tiny_model(), data, tmp_path / "run", SETTINGS, signals)
    assert checkpoint.load(tmp_path / "run").progress.step == saved
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_run_remembers_its_data_and_notices_a_change(text, tmp_path) -> None:
    copy = tmp_path / "copy.txt"
    copy.write_text(Path(text).read_text())
    train(tiny_model(), str(copy), 1, tmp_path / "run", batch=2, tokens=8, quiet=True)
    assert resume(tiny_model(), out=tmp_path / "run", steps=2, quiet=True).step == 2
    assert resume(tiny_model(), text, tmp_path / "run", steps=3, quiet=True).step == 3
    assert checkpoint.load(tmp_path / "run").progress.data_source == text
    resume(tiny_model(), str(copy), tmp_path / "run", steps=4, quiet=True)
    copy.write_text("other text\n" * 20)
    assert "is not the data" in errors("N0501", lambda: resume(tiny_model(), out=tmp_path / "run"))
    copy.unlink()
    assert "say with --data" in errors("N0003", lambda: resume(tiny_model(), out=tmp_path / "run"))


def test_a_run_says_what_it_reads_and_when_nothing_is_left(text, tmp_path, capsys) -> None:
    train(tiny_model(), text, 3, tmp_path / "run", batch=2, tokens=8)
    shown = capsys.readouterr().err
    assert shown.startswith(f"{text}: 880 bytes in 1 file, 88 of them held out\n")
    assert "compiling" not in shown
    resume(tiny_model(), out=tmp_path / "run", steps=2)
    assert "nothing is left to do: the run in" in capsys.readouterr().err
    resume(tiny_model(), out=tmp_path / "run", steps=4, until=3)
    assert "is at step 3 already, and --until is 3" in capsys.readouterr().err
    resume(tiny_model(), out=tmp_path / "run", steps=4)
    assert "nothing" not in capsys.readouterr().err


def test_a_compiled_run_says_what_it_compiles(data, tmp_path) -> None:
    model = tiny_model()
    model.run = CompiledRun({})  # no units, so that this is fast
    notes = []

    class Noting(Reporter):
        def note(self, text: str) -> None:
            notes.append(text)

        def held_out(self, step: int, figures: dict[str, float]) -> None:
            notes.append(step)

    start(model, data, tmp_path / "run", SETTINGS, Noting(), until=2)
    assert notes[1:] == [0, "compiling the optimizer adamw"]
    # Nothing executable is in a run's folder, nor looked for there.
    files = {checkpoint.FILE, "checkpoint-0.safetensors", checkpoint.PLAN_FILE, "metrics.jsonl"}
    assert {file.name for file in (tmp_path / "run").rglob("*")} == files
    assert not Path(os.environ["TORCHINDUCTOR_CACHE_DIR"]).is_relative_to(tmp_path)
    assert checkpoint.load(tmp_path / "run").progress.compiled
    proceed(tiny_model(), data, checkpoint.load(tmp_path / "run"), {}, Reporter())
    assert not checkpoint.load(tmp_path / "run").progress.compiled


def test_a_program_that_is_not_compiled_is_refused_in_words() -> None:
    nest = nestdsl.parse("model m {\n  input ids(4)\n  flow out = in -> embedding(4)\n}\n")
    for name in ("train", "resume", "evaluate", "generate"):
        function = getattr(nestdsl, name)
        with pytest.raises(NestError, match=rf"compile first: nestdsl\.{name}\(nest\.compile\(\)") as raised:
            function(nest, "x")
        assert [one.code for one in raised.value.diagnostics] == ["N0104"]


def test_the_python_face_evaluates_and_generates(text, tmp_path) -> None:
    model = tiny_model()
    result = nestdsl.train(model, text, 2, tmp_path / "run", batch=2, tokens=8, quiet=True)
    assert nestdsl.evaluate(model, text, batch=2, tokens=8) == result.held_out_after
    assert "short" not in errors("N0202", lambda: nestdsl.evaluate(model, text, sequences=0))
    made = b"".join(nestdsl.generate(model, "thé", 5))
    assert made == b"".join(nestdsl.generate(model, "thé".encode(), 5))
    assert len(made) == 5


def test_a_run_that_has_ended_may_be_given_more_steps(data, text, tmp_path) -> None:
    model = tiny_model()
    ended = start(model, data, tmp_path / "run", SETTINGS, Reporter())
    same = resume(tiny_model(), text, tmp_path / "run", quiet=True)
    assert (same.step, same.held_out_after) == (10, ended.held_out_after)
    assert len(metrics(tmp_path / "run")) == 11
    longer = resume(tiny_model(), text, tmp_path / "run", steps=12, quiet=True)
    assert longer.step == 12
    assert [line["step"] for line in metrics(tmp_path / "run")] == list(range(13))


def test_what_does_not_fit_the_run_is_refused(data, tmp_path) -> None:
    out = tmp_path / "run"
    start(tiny_model(), data, out, SETTINGS, Reporter(), until=3)
    before = (out / "checkpoint.safetensors").read_bytes()

    def proceeding(model=None, data=data, **given):
        return lambda: proceed(model or tiny_model(), data, checkpoint.load(out), given, Reporter())

    assert "with batch 2, not 4" in errors("N0502", proceeding(batch=4))
    other_data = dataclasses.replace(data, fingerprint="other")
    assert "is not the data" in errors("N0501", proceeding(data=other_data))
    assert "`levels.slow.frequency` is `every 4 steps` there and `every 2 steps` here" in errors(
        "N0502", proceeding(tiny_model(slow_period=2))
    )
    bigger = tiny_model()
    bigger.plan = dataclasses.replace(bigger.plan, parameters=(("dim", 16),), output_size=300)
    assert "`dim` is 8 there and 16 here" in errors("N0502", proceeding(bigger))
    moved = tiny_model()
    moved.plan = dataclasses.replace(moved.plan, source="elsewhere/tiny.nest")
    assert (out / "checkpoint.safetensors").read_bytes() == before
    proceeding(moved)()
    assert "no checkpoint" in errors("N0003", lambda: resume(tiny_model(), out=tmp_path))


def test_a_folder_that_cannot_take_a_run_is_refused(data, tmp_path) -> None:
    def starting(out):
        return lambda: start(tiny_model(), data, out, SETTINGS, Reporter())

    (tmp_path / "file").write_text("")
    assert "is not a folder" in errors("N0504", starting(tmp_path / "file"))
    assert "cannot write to" in errors("N0504", starting(tmp_path / "file" / "below"))
    assert "cannot write to" in errors("N0504", starting(Path("/proc/run")))
    for name in ("checkpoint.safetensors", "metrics.jsonl", "plan.yaml"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / name).write_text("kept")
        assert "--resume" in errors("N0504", starting(tmp_path / name))
        assert (tmp_path / name / name).read_text() == "kept"


def test_settings_out_of_range_are_all_reported(data, tmp_path) -> None:
    with pytest.raises(NestError) as raised:
        train(
            tiny_model(),
            data.source,
            steps=0,
            batch=-1,
            warmup=2.0,
            clip=math.nan,
            seed=-1,
            out=tmp_path / "x",
        )
    codes = [diagnostic.code for diagnostic in raised.value.diagnostics]
    assert codes == ["N0202", "N0202", "N0203", "N0203", "N0203"]
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("rate", [1e9, 1e38])
def test_a_run_that_diverges_stops_and_keeps_a_finite_checkpoint(data, tmp_path, rate) -> None:
    model = tiny_model(train=changed(ADAMW, lr=rate))
    settings = dataclasses.replace(SETTINGS, steps=60, clip=0.0)
    text = errors("N0505", lambda: start(model, data, tmp_path / "run", settings, Reporter()))
    assert "step" in text
    assert all(weight.isfinite().all() for weight in checkpoint.load(tmp_path / "run").weights.values())


DIVIDED = """
optimizer divided(lr = 0.01) {
  level v = ema(0.99) { learn grad * grad }
  flow update = -lr * grad / v ** 0.5
}
model tiny {
  input ids(256)
  flow out = in -> embedding(8) -> linear(256)
  train { every 2 steps  objective cross_entropy  optimizer divided(lr = constant(0.01)) }
}
"""


def test_an_update_that_is_not_finite_is_told_of_its_optimizer(data, tmp_path) -> None:
    """Bytes that no batch had yet have gradients of zero: 0 / 0."""
    model = build(lower(analyse(Source(DIVIDED)).graph(), "tiny.nest"), 0, compile=False)
    settings = dataclasses.replace(SETTINGS, checkpoint_every=1)
    text = errors("N0505", lambda: start(model, data, tmp_path / "run", settings, Reporter()))
    assert "the update of `divided` at" in text
    assert "is not finite at step 2, though the gradients are" in text
    assert "sqrt(v) + eps" in text
    saved = checkpoint.load(tmp_path / "run")
    assert saved.progress.step == 1
    assert all(weight.isfinite().all() for weight in saved.weights.values())


def test_the_scale_of_a_run_is_in_its_metrics_only_where_an_optimizer_follows_it(data, tmp_path) -> None:
    program = DIVIDED.replace("/ v ** 0.5", "/ (sqrt(v) + 1e-8)")
    for name, rate, follows in (("own", "constant(0.01)", False), ("run", "0.01", True)):
        source = Source(program.replace("constant(0.01)", rate))
        model = build(lower(analyse(source).graph(), "tiny.nest"), 0, compile=False)
        start(model, data, tmp_path / name, SETTINGS, Reporter())
        assert all(("rate_scale" in line) is follows for line in metrics(tmp_path / name)[1:])


def test_a_loss_that_is_not_finite_names_its_step(data, tmp_path, monkeypatch) -> None:
    model = tiny_model()
    whole = model.loss
    calls = []

    def loss(inputs, targets):
        calls.append(1)
        value = whole(inputs, targets)
        return value * (math.nan if len(calls) == 6 else 1)  # two calls measure, then one for each step

    monkeypatch.setattr(model, "loss", loss)
    text = errors("N0505", lambda: start(model, data, tmp_path / "run", SETTINGS, Reporter()))
    assert "the loss is nan at step 4" in text
    assert checkpoint.load(tmp_path / "run").progress.step == 3


def test_a_model_that_is_not_finite_before_the_first_step_is_told_of_its_memories(data, tmp_path) -> None:
    model = tiny_model()
    with torch.no_grad():
        next(model.parameters()).fill_(math.inf)
    text = errors("N0505", lambda: start(model, data, tmp_path / "run", SETTINGS, Reporter()))
    assert "before the first step" in text and "l2_normalize" in text
    assert "learning rate" not in text


def test_nothing_is_trained_by_a_run_without_steps_left(data, tmp_path) -> None:
    model = tiny_model()
    before = weights(model)
    loop.start(model, data, tmp_path / "run", SETTINGS, Reporter(), until=0)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_a_full_disk_is_a_diagnostic(data, tmp_path, monkeypatch) -> None:
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nestdsl.training.checkpoint, "write_file", full)
    text = errors("N0504", lambda: start(tiny_model(), data, tmp_path / "run", SETTINGS, Reporter()))
    assert "No space left on device" in text
