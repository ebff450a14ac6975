"""Child processes that cannot outlive the harness's patience: each has a group of its own, which is killed with it."""
import collections
import os
import signal
import subprocess
import threading
import time

Result = collections.namedtuple("Result", "status output errors")


class Failed(Exception):
    """A command that has to succeed did not; the text says which and how."""


def kill_group(process):
    """Ends what is left of the process's group (only what it started itself) and waits for the process."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def call(argv, limit, stdin=b"", cwd=None, env=None, merge=False):
    """Runs argv for at most `limit` seconds; its status (None if it had to be killed), output and errors, as bytes."""
    process = subprocess.Popen([str(a) for a in argv], cwd=cwd, env={**os.environ, **(env or {})},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT if merge else subprocess.PIPE, start_new_session=True)
    try:
        output, errors = process.communicate(stdin, timeout=limit)
        status = process.returncode
    except subprocess.TimeoutExpired:
        kill_group(process)
        output, errors = process.communicate()
        status = None
    finally:
        kill_group(process)
    return Result(status, output, errors or b"")


def must(argv, limit=1200, **how):
    """Runs argv, which has to succeed; its output as text."""
    result = call(argv, limit, **how)
    if result.status != 0:
        tail = (result.output + result.errors).decode("utf-8", "replace")[-3000:]
        raise Failed(f"exit {result.status}: {tail.strip().splitlines()[-1:]} of {' '.join(map(str, argv))}\n{tail}")
    return result.output.decode("utf-8", "replace")


class Child:
    """A process that runs beside the test: its output lines are collected, and can be waited for."""

    def __init__(self, argv, cwd=None, env=None, stdin=None, errors=None):
        self.argv = [str(a) for a in argv]
        self.process = subprocess.Popen(self.argv, cwd=cwd, env={**os.environ, **(env or {})},
                                        stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=errors or subprocess.DEVNULL, start_new_session=True)
        self.lines, self.ended, self.news = [], False, threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def wait_for(self, true, limit, what):
        """Waits until `true(lines)`; its value. Fails when the process ends or `limit` seconds pass before."""
        deadline = time.monotonic() + limit
        with self.news:
            while not (value := true(self.lines)):
                assert not self.ended, f"{what}: the process ended first (status {self.process.poll()}): {self.argv}"
                left = deadline - time.monotonic()
                assert left > 0, f"{what}: not within {limit} s"
                self.news.wait(left)
            return value

    def kill(self):
        kill_group(self.process)
        self.reader.join(10)

    def stop(self, limit=30):
        """SIGTERM, then the exit status; killed when it does not end in time (None)."""
        self.process.terminate()
        try:
            status = self.process.wait(limit)
        except subprocess.TimeoutExpired:
            status = None
        self.kill()
        return status


def until(true, limit, what, every=0.2):
    """Polls something outside until it is true; its value."""
    deadline = time.monotonic() + limit
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what}: not within {limit} s"
        time.sleep(every)
    return value
