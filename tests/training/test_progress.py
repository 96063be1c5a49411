"""What a run shows: lines where there is no terminal, a bar in one, nothing when quiet."""

import io
import re

from rich.console import Console

from nestdsl.training.data.text import BITS_PER_BYTE
from nestdsl.training.progress import Bar, Lines, Speed, reporter


def follow(shown) -> None:
    with shown:
        shown.start(0, 100, 64, BITS_PER_BYTE)
        shown.held_out(0, {"held_out_bits_per_byte": 8.0})
        for step in range(1, 101):
            shown.moved(step, 8.0 - step / 50)
        shown.held_out(100, {"held_out_bits_per_byte": 6.25})


def test_lines_are_few_and_say_everything() -> None:
    console = Console(file=io.StringIO(), width=40)
    follow(Lines(console))
    lines = console.file.getvalue().splitlines()
    assert lines[0] == "step 0: held-out bits per byte 8.000"
    assert len(lines) == 22
    assert re.fullmatch(r"step 100/100: loss 6\.000 bits per byte, [\d,]+ tokens/s, 0:00 left", lines[-2])
    assert lines[-1] == "step 100: held-out bits per byte 6.250"


def test_a_bar_shows_loss_held_out_speed_and_time() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    follow(Bar(console))
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    last = shown.replace("\r", "\n").strip().splitlines()[-1]
    assert "100/100" in last
    assert "0:00 left" in last
    assert "loss 6.000" in last
    assert "held-out 6.250 bits/byte" in last
    assert "tokens/s" in last


def test_a_bar_fits_eighty_columns(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr("nestdsl.training.progress.time.perf_counter", lambda: now)
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    bar = Bar(console)
    with bar:
        bar.start(9990, 20000, 20000, BITS_PER_BYTE)
        bar.note("compiling the model…")
        bar.held_out(9990, {"held_out_bits_per_byte": 12.345})
        for step in range(9991, 9995):
            now += 0.4
            bar.moved(step, 12.345)
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
    lines = shown.replace("\r", "\n").strip().splitlines()
    assert "compiling the model…" in [line.strip() for line in lines]
    assert re.search(
        r"9994/20000 loss 12\.345 held-out 12\.345 bits/byte 50,000 tokens/s 1:06:42 left$", lines[-1].strip()
    )
    assert max(map(len, lines)) <= 80


def test_quiet_shows_nothing(capsys) -> None:
    follow(reporter(quiet=True))
    assert capsys.readouterr() == ("", "")


def test_lines_go_to_standard_error(capsys) -> None:
    follow(reporter())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "held-out" in captured.err


def test_speed_is_that_of_steps_that_do_not_compile_or_wait(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr("nestdsl.training.progress.time.perf_counter", lambda: now)
    speed = Speed(100)
    assert (speed.tokens_per_second(), speed.time_left(9)) == ("-", "-")
    for seconds in (60.0, 0.5, 0.5, 30.0, 0.5):
        now += seconds
        speed.moved()
        now += 7.0
        speed.pause_ends()
    assert speed.seconds_per_step == 0.5
    assert (speed.tokens_per_second(), speed.time_left(140)) == ("200", "1:10")


def test_the_first_step_is_in_no_rate(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr("nestdsl.training.progress.time.perf_counter", lambda: now)
    console = Console(file=io.StringIO(), width=40)
    lines = Lines(console)
    lines.start(0, 3, 100, BITS_PER_BYTE)
    for step, seconds in ((1, 20.0), (2, 0.5), (3, 0.5)):
        now += seconds
        lines.moved(step, 8.0)
    assert console.file.getvalue().splitlines() == [
        "step 1/3: loss 8.000 bits per byte",
        "step 2/3: loss 8.000 bits per byte, 200 tokens/s, 0:00 left",
        "step 3/3: loss 8.000 bits per byte, 200 tokens/s, 0:00 left",
    ]
