"""jupyter_kernel_test on several kernels, side by side: python beside.py KERNEL... prints a table, a row for each test.

Each test runs in a process of its own, with a limit, since a kernel that does not answer holds the suite up for ever.
"""
import os
import re
import signal
import subprocess
import sys
import tempfile
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 60  # seconds
TESTS = ["AdvlabTests." + name for name in (
    "test_kernel_info", "test_execute_stdout", "test_execute_stderr", "test_execute_result", "test_display_data", "test_clear_output",
    "test_error", "test_completion", "test_inspect", "test_is_complete", "test_history", "test_stdin", "test_pager")]
TESTS.append("AdvlabIopubTests.test_recv_iopub_welcome_msg")


def end(mark):
    """Ends what a test has left: its kernel, and what that has started."""
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as environ:
                if mark.encode() in environ.read():
                    os.kill(int(entry), signal.SIGKILL)
        except (OSError, ValueError):
            pass  # another user's, no process, or one that has ended


def outcome(kernel, test):
    mark = "ADVLAB_BESIDE=" + uuid.uuid4().hex
    environment = dict(os.environ, ADVLAB_TEST_KERNEL=kernel, ADVLAB_BESIDE=mark.split("=")[1])
    command = [sys.executable, os.path.join(HERE, "kernel_test.py"), test]
    with tempfile.TemporaryFile("w+") as file:  # no pipe, which a kernel that is left would hold open
        p = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            p.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            return f"no answer in {LIMIT} s"
        finally:
            end(mark)
        file.seek(0)
        out = file.read()
    if re.search(r"\.\.\. ok$", out, re.MULTILINE):
        return "ok"
    if re.search(r"\.\.\. skipped", out):
        return "n/a"
    reason = re.findall(r"^(?:[\w.]*(?:Error|Exception|Empty|Timeout)\b.*)$", out, re.MULTILINE)
    return "fails: " + (reason[-1] if reason else "see its output")[:70]


def main(kernels):
    counts = [0] * len(kernels)

    def show(row):
        print(" | ".join([row[0].ljust(30), *(text.ljust(40) for text in row[1:])]).rstrip(), flush=True)

    show(["test", *kernels])
    for test in TESTS:
        outcomes = [outcome(kernel, test) for kernel in kernels]
        counts = [n + (o == "ok") for n, o in zip(counts, outcomes)]
        show([test.split(".")[1], *outcomes])
    show(["ok", *map(str, counts)])


main(sys.argv[1:])
