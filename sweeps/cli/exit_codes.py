"""Exit codes of the `sweeps` command."""

EXIT_INCOMPLETE = 1
EXIT_USAGE = 2
EXIT_CUT_SHORT = 3
EXIT_ENDED_EARLY = 4
EXIT_INTERRUPTED = 130
EXIT_CODES = (
    "exit codes: 0 all trials have finished; 1 some trials have failed or, for status, watch and "
    "search, have not finished or, for search, no configuration is complete or, for verify, are "
    "not intact or, for archive, are not intact or missing there or, for rm, were kept or, for "
    "reproduce, differ or, for cancel and pause, have not stopped yet; 2 the input is invalid and"
    " nothing was trained; 3 an error outside the trials, such as a full disk or a crash of Ray, "
    "ended the command; 4 `sweeps cancel` or --budget ended the command; 130 Ctrl-C or a signal "
    "stopped the command. After 3, 4 and 130, run the same command again to continue."
)
