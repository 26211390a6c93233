"""Each row of the table "What goes wrong" in docs/cluster.md is tried by tests.

Whoever adds a row names its tests here. A test is a function; its parameters are not named.
"""

import ast
import re
from functools import cache

import pytest

from tests.markdown import ROOT

ON_PREMISE = "machines/test_on_premise.py::test_a_sweep_survives_what_happens_to_machines"
BY_HAND = "machines/test_on_premise.py::test_a_cluster_that_was_started_by_hand"

TRIED: dict[str, tuple[str, ...]] = {
    "Ctrl-C, or a signal of a batch system (SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU)": (
        "sweeps/running/test_faults.py::test_a_command_goes_on_where_another_one_was_stopped",
        "sweeps/connecting/test_signals.py::test_all_signals_of_batch_systems_are_handled_alike",
        "sweeps/watching/test_progress.py::test_the_first_signal_asks_and_the_second_insists",
    ),
    "`sweeps cancel` is called, or a budget is spent.": (
        "sweeps/control/test_living_sweep.py::test_pause_resume_and_cancel",
        "sweeps/control/test_budget.py::test_what_all_commands_spent_counts",
        "sweeps/running/test_tune_hooks.py"
        "::test_a_command_of_which_all_was_cancelled_stops_as_after_a_signal",
    ),
    "The driver is killed.": ("chaos/test_chaos.py::test_a_sweep_survives_failures_of_a_cluster",),
    "The process of a trial dies, or its disk or GPU fails.": (
        "sweeps/running/test_faults.py"
        "::test_a_trial_whose_process_dies_is_tried_again_but_not_for_ever",
        "sweeps/worker/test_kill.py::test_sigkill_at_random_moments_changes_nothing",
        "sweeps/worker/test_workers.py"
        "::test_an_error_that_another_attempt_may_survive_reaches_the_driver",
        "sweeps/running/test_tune_hooks.py"
        "::test_an_error_that_another_attempt_may_survive_costs_a_retry",
    ),
    "A machine loses its power, or Ray is killed on it.": (ON_PREMISE,),
    "A job is stopped with `ray job stop`.": (ON_PREMISE,),
    "Ray's control process on the head (`gcs_server`) ends.": (
        BY_HAND,
        "sweeps/searching/test_search.py"
        "::test_a_search_that_is_killed_again_and_again_loses_nothing",
        "sweeps/connecting/test_ray_processes.py"
        "::test_a_main_thread_that_waits_for_ray_does_not_hold_up_the_end",
    ),
    "Ray's process on the machine of the command (`raylet`) ends.": (
        "sweeps/connecting/test_ray_processes.py::test_a_raylet_that_ends_is_noticed_at_once",
    ),
    "The token of a Ray cluster is missing or wrong.": (BY_HAND,),
    "A machine is preempted, and Ray reports it.": (
        "sweeps/running/test_tune_hooks.py::test_a_preempted_machine_costs_none",
    ),
    "One of the processes of a trial on several devices raises an error, for example because data "
    "is missing on its machine.": (
        "quantlab/distributed/test_data_parallel.py"
        "::test_an_error_before_training_reaches_the_first_process",
        "sweeps/running/test_tune_hooks.py"
        "::test_an_error_that_was_recorded_before_the_process_died_is_final",
    ),
    "One of the processes of a trial on several devices dies.": (
        "sweeps/worker/test_data_parallel.py::test_a_trial_of_two_processes_survives_their_deaths",
    ),
    "A worker cannot start, or its machine does not see the folder of `--storage`.": (
        "sweeps/running/test_tune_hooks.py::test_a_worker_that_cannot_work_ends_the_sweep",
        "sweeps/worker/test_workers.py::test_a_worker_without_the_drivers_storage_says_where_it_is",
    ),
    "The file system of `--storage` has no locks, or locks that are valid on one machine only; it "
    "is read-only or full.": (
        "sweeps/nodes/test_cluster_of_machines.py"
        "::test_a_file_system_that_cannot_be_used_is_refused_before_anything_is_trained",
        "sweeps/nodes/test_cluster_of_machines.py"
        "::test_a_machine_that_joins_later_with_locks_of_its_own_trains_nothing",
        "sweeps/file_system/test_probe.py::test_a_file_system_without_locks_is_refused",
    ),
    "A machine has other versions or other code than that of the driver.": (
        "sweeps/nodes/test_cluster_of_machines.py"
        "::test_another_version_or_other_code_is_refused_before_anything_is_trained",
    ),
    "The Ray cluster was started by another user.": (
        "sweeps/nodes/test_cluster_of_machines.py::test_the_cluster_of_another_user_is_refused",
    ),
    "The disk of `--storage` becomes full.": (
        "sweeps/nodes/test_cluster_of_machines.py"
        "::test_a_sweep_on_a_disk_that_becomes_full_continues_when_there_is_room",
    ),
    "Standard output is closed or full.": (
        "sweeps/printing/test_streams.py::test_a_full_stream_is_no_error",
        "sweeps/printing/test_streams.py::test_a_closed_stream_takes_no_files_number",
    ),
    "A file in a trial folder is damaged, truncated, or belongs to another trial.": (
        "sweeps/storage/test_damage.py::test_no_damage_gives_a_traceback_or_a_wrong_number",
        "sweeps/storage/test_storage.py::test_a_record_of_another_trial_or_a_changed_one_is_damaged",
        "sweeps/worker/test_trial.py::test_epochs_that_the_history_has_lost_are_trained_again",
        "sweeps/worker/test_trial.py"
        "::test_a_network_that_others_start_from_is_trained_again_if_it_is_damaged",
    ),
    "A trial raises any other error.": (
        "sweeps/running/test_faults.py::test_failing_trials_do_not_stop_the_others",
    ),
    "The loss of a trial becomes infinite or NaN.": (
        "sweeps/worker/test_trial.py::test_divergence_is_a_result",
    ),
    "A trial fails, and other trials start from its network or have it as their teacher.": (
        "sweeps/running/test_faults.py::test_failing_trials_do_not_stop_the_others",
        "sweeps/running/test_cell_queue.py::test_a_failed_parent_fails_its_descendants",
        "sweeps/running/test_cell_queue.py::test_a_student_fails_once_with_either_of_both",
    ),
    "The tracking server does not answer, or is slow.": (
        "sweeps/tracking/test_stores.py::test_a_server_that_is_killed_within_a_batch_and_started_again",
        "sweeps/tracking/test_stores.py::test_a_slow_server_does_not_hold_up_training",
        "sweeps/tracking/test_tracking.py::test_delivery_tries_again_when_the_server_is_back",
        "sweeps/tracking/test_tracking.py::test_a_dead_server_does_not_hold_up_the_end",
    ),
    "The tracking server does not answer at the start of a sweep, and has never been reached.": (
        "sweeps/cli/test_command.py::test_a_service_that_is_not_there_is_one_line",
    ),
    "The archive of `--archive` does not answer.": (
        "sweeps/archive/test_archive.py::test_an_outage_of_the_archive_delays_its_trials",
        "sweeps/archive/test_archive.py"
        "::test_without_an_answer_nothing_is_trained_that_the_archive_may_have",
        "chaos/test_chaos.py::test_a_sweep_survives_failures_of_a_cluster",
    ),
    "An object of the archive is damaged, or contradicts another one.": (
        "sweeps/archive/test_archive.py::test_a_damaged_object_is_named_and_not_trusted",
        "sweeps/archive/test_archive.py"
        "::test_results_that_contradict_each_other_are_named_and_not_trusted",
    ),
    "The time limit of a SLURM job is near.": (
        "machines/test_slurm.py::test_trials_survive_all_ends_of_a_job",
    ),
    "A SLURM job is preempted, requeued or loses a node.": (
        "machines/test_slurm.py::test_trials_survive_all_ends_of_a_job",
    ),
    "A SLURM job is cancelled.": ("machines/test_slurm.py::test_trials_survive_all_ends_of_a_job",),
    "A machine runs out of memory, and Ray's memory monitor kills a trial.": (
        "sweeps/running/test_tune_hooks.py"
        "::test_fewer_trials_run_at_once_after_one_was_killed_because_of_memory",
        "sweeps/running/test_tune_hooks.py"
        "::test_a_trial_that_needs_more_memory_than_a_machine_has_fails_at_once",
    ),
    "No machine has what the `resources` of a block name.": (
        "sweeps/placement/test_needs.py::test_trials_that_no_machine_can_train_are_told",
    ),
    "One of several commands on the same storage is stopped or killed.": (
        "sweeps/running/test_faults.py::test_a_command_goes_on_where_another_one_was_stopped",
        "chaos/test_chaos.py::test_a_sweep_survives_failures_of_a_cluster",
    ),
}
"""Event, as in the table -> the tests in which it happens, as files of tests/ with functions."""


def rows() -> dict[str, str]:
    """The table: event -> consequence."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    _, table, *_ = page[page.index("\n## What goes wrong\n") :].split("\n\n")
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", table, re.MULTILINE))


@cache
def functions_of(file: str) -> set[str]:
    """The names of the test functions of a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    found = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {name for name in found if name.startswith("test_")}


def test_each_event_of_the_table_has_tests() -> None:
    header, *events = rows()
    assert header == "event"
    assert len(events) >= 14
    assert set(events) == set(TRIED)


@pytest.mark.parametrize("event", TRIED)
def test_the_functions_of_an_event_exist(event: str) -> None:
    assert TRIED[event]
    for test in TRIED[event]:
        file, _, name = test.partition("::")
        assert name in functions_of(file), test
