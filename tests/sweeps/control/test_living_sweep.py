"""A sweep that is paused, resumed and cancelled by other processes while it runs."""

import json
import pickle
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from sweeps.control.answers import wait_for_answers
from sweeps.control.gate import Gate
from sweeps.control.listener import listening
from sweeps.control.requests import CANCEL, PAUSE, Requests
from sweeps.inventory.known_sweeps import recorded, remember_sweep
from sweeps.loading import load_sweep
from sweeps.selection.selected import selected
from sweeps.spending.attempts import attempts_of
from sweeps.storage import Storage, TrialFolder, TrialState
from sweeps.storage.records import Origin
from sweeps.worker.trial import run_trial
from tests.conftest import Command
from tests.sweeps.sweep_files import TINY, changed


def slow(until: Path) -> str:
    """The tiny sweep with more trials, whose steps take a while until a file is there."""
    sleeps = (
        f"        if 'RAY_JOB_ID' in os.environ and not os.path.exists({str(until)!r}):\n"
        "            time.sleep(0.2)\n"
        "        return torch.tanh("
    )
    longer = changed(changed(TINY, "        return torch.tanh(", sleeps), "epochs=2,", "epochs=20,")
    return "import os\nimport time\n" + changed(longer, "(0.5, 1.0)", "(0.5, 1.0, 2.0)")


def digest(trial: TrialFolder) -> str:
    """That of the network of a finished trial."""
    result = trial.result.read()
    assert result is not None
    assert result.weights_sha256
    return result.weights_sha256


def test_pause_resume_and_cancel(tiny_copy: Path, quick_command: Command) -> None:
    """It is paused before it starts; then trials that run are cancelled, and others paused."""
    folder, fast = tiny_copy, tiny_copy / "fast"
    (folder / "tiny.py").write_text(slow(fast))
    storage = Storage(folder / "runs")
    requests = Requests(storage, "tiny")
    recipes = {cell.fingerprint: cell.recipe for cell in load_sweep(str(folder / "tiny.py")).cells}

    def wait_until(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def trials(text: str) -> list[str]:
        """The trials of the sweep whose names have a text."""
        (known,) = (one for one in recorded(storage) if one.name == "tiny")
        return [trial.fingerprint for trial in known.trials if text in trial.name]

    def stop(kind: str, text: str) -> list[TrialState]:
        """Stop trials; return their states once that is done."""
        names = trials(text)
        request = requests.add(kind, names)
        answers = wait_for_answers(
            requests, request, names, storage, seconds=60, tell=lambda command: None
        )
        assert len(answers.asked) == 1
        assert not answers.silent
        return [storage.trial(name).state() for name in names]

    def others() -> tuple[list[TrialState], list[TrialState]]:
        wait_until(lambda: list(folder.glob("runs/control/tiny/commands/*.json")))
        requests.resume(recipes, of=recipes)
        wait_until(lambda: len(list(folder.glob("runs/trials/*/checkpoint.pt"))) >= 2)
        cancelled = stop(CANCEL, "rho0=0.5")
        wait_until(lambda: len(list(folder.glob("runs/trials/*/running.json"))) >= 2)
        paused = stop(PAUSE, "MD")
        fast.touch()
        requests.resume(trials("MD"), of=trials(""))
        return cancelled, paused

    done = quick_command(folder, "pause", "tiny")
    assert done.returncode == 0, done.stderr
    paused = done.stdout.splitlines()[-1]
    assert paused.startswith("All trials of tiny are paused. To go on, run: ")
    assert paused.endswith(" resume tiny")
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(others)
        options = ("--concurrency", "2", "--first", "block=MD", "--on-end", "env > told")
        done = quick_command(folder, "run", "tiny.py", *options)
        cancelled, stopped = asked.result()
    assert done.returncode == 4, done.stderr
    assert cancelled == 2 * [TrialState.INTERRUPTED]
    assert TrialState.RUNNING not in stopped
    assert stopped.count(TrialState.INTERRUPTED) >= 3
    assert re.search(
        r"^all trials are paused by .*; they wait for `sweeps resume`$", done.stdout, re.M
    )
    assert done.stdout.splitlines()[-1] == "tiny: 2 INTERRUPTED, 6 COMPLETE"
    assert re.search(r"^sweeps: 2 trials were cancelled by .*; to continue, ", done.stderr, re.M)
    told = (folder / "told").read_text()
    assert {"QUANTLAB_SWEEP=tiny", "QUANTLAB_STATE=CANCELLED", "QUANTLAB_COMPLETE=6"} <= set(
        told.splitlines()
    )
    ended = [storage.trial(name) for name in trials("") if name not in trials("rho0=0.5")]
    for trial in ended:
        result = trial.result.read()
        assert result is not None
        assert result.command == "sweeps run tiny.py --concurrency 2 --first block=MD"
        epochs = [epoch.epoch for epoch in trial.read_history()]
        assert epochs == list(range(1, len(epochs) + 1))
    interrupted = next(trial for trial in ended if len(attempts_of(trial)) > 1)
    undisturbed = Storage(folder / "undisturbed").trial(interrupted.fingerprint)
    run_trial(recipes[undisturbed.fingerprint], undisturbed, data_dir=folder / "data")
    assert digest(undisturbed) == digest(interrupted)


def test_some_trials_are_paused_and_resumed_by_their_conditions(
    tiny_copy: Path, quick_command: Command
) -> None:
    (tiny_copy / "tiny.py").write_text(changed(TINY, "epochs=2,", "epochs=3,"))

    def status(*options: str) -> str:
        return quick_command(tiny_copy, "status", "tiny.py", *options).stdout

    done = quick_command(tiny_copy, "pause", "tiny.py", "--only", "block=MD,seed=0")
    assert done.returncode == 0
    (last,) = done.stdout.splitlines()  # nobody has recorded these trials
    assert last.startswith("2 trials of tiny are paused. To go on, run: ")
    assert last.endswith(" resume tiny.py --only block=MD,seed=0")
    assert re.search(r"^PAUSED: 2 trials \(--only block=MD,seed=0\), by ", status(), re.M)
    (pause,) = json.loads(status("--json"))["paused"]
    assert pause["trials"] == 2
    assert pause["conditions"] == "--only block=MD,seed=0"
    done = quick_command(tiny_copy, "resume", "tiny.py", "--only", "rho0=0.5")
    assert done.stdout.startswith("1 trial of tiny is resumed.\nNo command trains it now; ")
    (pause,) = json.loads(status("--json"))["paused"]
    assert pause["trials"] == 1
    quick_command(tiny_copy, "resume", "tiny.py")
    assert "PAUSED" not in status()


def test_trials_that_nobody_has_recorded_stay_paused(
    tiny_copy: Path, quick_command: Command
) -> None:
    """As after `sweeps run --only`, which records those that it trains."""
    file = tiny_copy / "tiny.py"
    sweep, storage = load_sweep(str(file)), Storage(tiny_copy / "other")
    storage.require_writable()
    part, _ = selected(sweep, only=["block=MD"])
    remember_sweep(part, str(file), storage)
    requests = Requests(storage, "tiny")
    requests.add(PAUSE, None)

    def resume(*options: str) -> str:
        return quick_command(tiny_copy, "resume", "tiny.py", "--storage", "other", *options).stdout

    assert resume("--only", "block=MD").startswith("4 trials of tiny are resumed.\n")
    own = Gate(requests)
    assert {cell.block for cell in sweep.cells if own.holds_any([cell.fingerprint])} == {"FP"}
    assert resume("--only", "block=FP").startswith("2 trials of tiny are resumed.\n")
    assert not requests.standing()
    options = ("--storage", "other", "--only", "block=FP")
    paused = quick_command(tiny_copy, "pause", "tiny.py", *options).stdout
    assert paused.startswith("2 trials of tiny are paused.")


def test_a_pause_of_all_is_over_when_all_unfinished_trials_are_resumed(
    tiny_copy: Path, quick_command: Command
) -> None:
    sweep, storage = load_sweep(str(tiny_copy / "tiny.py")), Storage(tiny_copy / "runs")
    for cell in sweep.cells:
        if cell.block == "MD":
            storage.trial(cell.fingerprint).result.remove()
    quick_command(tiny_copy, "pause", "tiny.py")
    done = quick_command(tiny_copy, "resume", "tiny.py", "--only", "block=MD")
    assert done.stdout.startswith("4 trials of tiny are resumed.\n")
    assert not Requests(storage, "tiny").standing()


def test_a_cancelled_trial_that_waits_in_ray_is_not_trained_after_the_others_have_stopped(
    tiny_copy: Path, quick_command: Command
) -> None:
    """Those that are paused before are resumed, which a command that trains them sees itself."""
    storage, over = Storage(tiny_copy / "runs"), Event()
    requests = Requests(storage, "tiny")
    with listening(storage, "tiny", Origin(command="sweeps run tiny.py")) as listener:
        sent = pickle.dumps(listener.gate)  # as to a worker that gets a trial later

        def listen() -> None:
            while not over.wait(0.1):
                listener.look()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(listen)
            try:
                Requests(storage, "tiny").add(PAUSE, None)
                resumed = quick_command(tiny_copy, "resume", "tiny")
                done = quick_command(tiny_copy, "cancel", "tiny.py", "--only", "block=MD,seed=0")
            finally:
                over.set()
        assert (resumed.returncode, resumed.stdout) == (0, "All trials of tiny are resumed.\n")
        assert done.returncode == 0, done.stderr
        worker = pickle.loads(sent)
        worker.look()
        trials = [one.fingerprint for one in load_sweep(str(tiny_copy / "tiny.py")).cells]
        assert sum(worker.holds_any([trial]) for trial in trials) == 2
        assert sum(listener.gate.holds_any([trial]) for trial in trials) == 2
    assert not requests.standing()


def test_trials_that_have_finished_are_not_paused(tiny_copy: Path, quick_command: Command) -> None:
    done = quick_command(tiny_copy, "pause", "tiny.py", "--only", "block=MD")
    assert done.returncode == 0
    assert done.stdout == (
        "The trials of tiny that were named have finished, so that there is nothing to pause.\n"
    )
    (tiny_copy / "tiny.py").write_text(changed(TINY, "seeds=(0, 1)", "seeds=(0, 1, 2)"))
    done = quick_command(tiny_copy, "pause", "tiny.py", "--only", "block=MD")
    assert re.search(r"^2 trials of tiny are paused\. ", done.stdout, re.M)
    shown = quick_command(tiny_copy, "watch", "tiny.py").stdout
    assert re.search(r"^PAUSED: 2 trials \(--only block=MD\), by ", shown, re.M)


def test_requests_about_what_nobody_trains(tiny_copy: Path, quick_command: Command) -> None:
    """They say so, and names that the storage does not know are refused."""
    done = quick_command(tiny_copy, "cancel", "tiny")
    assert done.returncode == 0
    assert done.stdout == "No command trains tiny now, so that there is nothing to cancel.\n"
    resumed = quick_command(tiny_copy, "resume", "tiny")
    assert resumed.stdout == "Nothing of tiny that was named is paused.\n"
    for command in ("cancel", "pause", "resume"):
        done = quick_command(tiny_copy, command, "tinny")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("sweeps: error: tinny: no command has trained a sweep or study of ")
        assert "(did you mean 'tiny'?)" in line
    done = quick_command(tiny_copy, "pause", "tiny.py", "--only", "method=XX")
    assert done.returncode == 2
    assert not Requests(Storage(tiny_copy / "runs"), "tiny").standing()
