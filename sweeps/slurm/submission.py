"""Give a batch script to SLURM."""

import shlex
import shutil
import subprocess
from pathlib import Path

from quantlab import ConfigurationError

_PRIVATE = 0o600


def require_sbatch() -> None:
    """Refuse to submit where SLURM is not installed.

    Raises:
        ConfigurationError: the command sbatch is not found.
    """
    if shutil.which("sbatch") is None:
        raise ConfigurationError(
            "--submit: this machine has no command sbatch; run this on a login node of the "
            "cluster, or omit --submit to write the script only"
        )


def write(script: Path, text: str, *, is_private: bool) -> bool:
    """Write a batch script, unless it is there already.

    Args:
        script: the file.
        text: the content.
        is_private: whether other users must not read it.

    Returns:
        Whether the file is new.

    Raises:
        ConfigurationError: the file exists with another content, which may be the user's changes.
    """
    if script.exists():
        if script.is_file() and script.read_text(encoding="utf-8", errors="replace") == text:
            if is_private:
                script.chmod(_PRIVATE)
            return False
        raise ConfigurationError(
            f"--output {script}: the file exists with another content; remove it or give "
            "another --output, or submit it as it is with "
            f"`sbatch {shlex.quote(str(script))}`"
        )
    if not script.absolute().parent.is_dir():
        raise ConfigurationError(
            f"--output {script}: the folder {script.absolute().parent} does not exist; create it "
            "first"
        )
    script.touch(_PRIVATE if is_private else 0o666)  # as the umask allows
    script.write_text(text, encoding="utf-8")
    return True


def submit(script: Path, *, is_new: bool) -> str:
    """Submit a batch script, and return the number of its job.

    Args:
        script: the file.
        is_new: whether to remove the file if SLURM refuses the job, so that it can be written again
            with other options.

    Raises:
        ConfigurationError: SLURM refuses the job.
    """
    found = subprocess.run(
        ["sbatch", "--parsable", str(script)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        if is_new:
            script.unlink()
        reason = " ".join(found.stderr.replace("sbatch: error: ", "").split())
        raise ConfigurationError(f"--submit: SLURM refuses the job ({reason})")
    return found.stdout.strip().partition(";")[0]
