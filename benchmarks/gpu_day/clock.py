"""At what clock the GPU runs while it is measured."""

import os
import statistics
import subprocess

QUERY = {
    "clocks.sm": "SM clock, MHz",
    "clocks.max.sm": "highest, MHz",
    "power.draw": "power, W",
    "temperature.gpu": "temperature, C",
    "clocks_throttle_reasons.active": "reasons",
}
IDLE = {"0x0000000000000000", "0x0000000000000001"}  # nothing holds the clock down, or nothing ran


def sm_megahertz(cycles: int = 1 << 20) -> float | None:
    """The clock that the SMs have now: two pauses of known cycles, by events. None where these say nothing."""
    import torch

    from harness.gpu_timing import events

    def microseconds(cycles):
        start, end = events()
        start.record()
        torch.cuda._sleep(cycles)
        end.record()
        end.synchronize()
        return 1e3 * start.elapsed_time(end)

    microseconds(cycles)
    differences = [microseconds(2 * cycles) - microseconds(cycles) for _ in range(3)]
    middle = statistics.median(differences)
    return cycles / middle if middle > 0 else None


class Sampler:
    """Asks nvidia-smi twice a second while the block runs."""

    def __enter__(self):
        self._process, self._text = None, ""
        device = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        command = ["nvidia-smi", f"--id={device}", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        try:  # a pipe holds ten minutes of it
            self._process = subprocess.Popen([*command, "--loop-ms=500"], text=True, start_new_session=True, **streams)
        except OSError as error:
            self._text = f"it does not start: {error.strerror}"
        return self

    def __exit__(self, *_):
        if self._process is not None:
            self._process.terminate()
            try:
                self._text, _ = self._process.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._text, _ = self._process.communicate()

    def found(self) -> dict:
        """{"samples", name: [least, median, most], "reasons": []}, or {"samples": 0, "note": why}."""
        rows = [[cell.strip() for cell in line.split(",")] for line in self._text.splitlines()]
        rows = [row for row in rows if len(row) == len(QUERY)]
        if not rows:
            return {"samples": 0, "note": f"nvidia-smi: {(self._text.strip().splitlines() or ['no answer'])[-1]}"}
        found = {"samples": len(rows)}
        for name, column in zip(QUERY.values(), zip(*rows)):
            if name == "reasons":
                found[name] = sorted(set(column) - IDLE)
            elif numbers := [float(cell) for cell in column if _is_number(cell)]:
                found[name] = [min(numbers), statistics.median(numbers), max(numbers)]
        return found


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True
