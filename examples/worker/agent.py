#!/usr/bin/env python3
"""A worker agent: takes job documents from FOLDER/queue, one after the other, and leaves result documents in
FOLDER/results. See README.md beside this file.

    agent.py FOLDER          until it is ended
    agent.py --once FOLDER   until the queue is empty
    agent.py -               one document from standard input, its result on standard output
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

FFRTMP = os.environ.get("FFRTMP", "ffrtmp")


def say(text):
    print(f"agent: {text}", file=sys.stderr, flush=True)


def result_of(folder, name):
    """The result document of a job, or None: it is replaced as a whole, so what is there can be read."""
    try:
        return json.loads((folder / "results" / name).read_text())
    except FileNotFoundError:
        return None


def has_ended(result):
    """A result says why the run ended once it has, and null before."""
    return result is not None and result["exit_reason"] is not None


def settle(folder):
    """What an agent before this one has left behind: its workloads run on without it, and so do those that
    write their results."""
    for document in sorted((folder / "running").glob("*.json")):
        result = result_of(folder, document.name)
        if has_ended(result):
            document.unlink()
        elif result is not None:
            say(f"{document.name} goes on; its result comes to results/{document.name}")
        else:
            # It may have begun just now, so it is not started a second time.
            say(f"{document.name} was taken, and nothing is known of it; to run it, move it back into queue")


def run(folder, name):
    say(f"{name} begins")
    document, report = folder / "running" / name, folder / "results" / name
    log = folder / "logs" / f"{name}.log"
    with log.open("wb") as output:
        command = [FFRTMP, "run", "--job", str(document), "--report", str(report)]
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode
    result = result_of(folder, name)
    if has_ended(result):
        document.unlink()
        metrics = result["metrics"]
        say(
            f"{name} ended with {code}: {result['exit_reason']} after {metrics['exec_duration']} s, "
            f"platform_sla {metrics['platform_sla']}"
        )
    elif result is not None:
        say(f"the wrapper of {name} is gone, the workload goes on; its result comes to results/{name}")
    else:
        document.rename(folder / "rejected" / name)
        log.rename(folder / "rejected" / f"{name}.txt")
        say(f"{name} cannot be run: rejected/{name}.txt says why")


def main():
    parser = argparse.ArgumentParser(description="Run the job documents of FOLDER/queue.")
    parser.add_argument("--once", action="store_true", help="end when the queue is empty")
    parser.add_argument("folder", metavar="FOLDER", help="or - for one document from standard input")
    options = parser.parse_args()
    if options.folder == "-":
        os.execvp(FFRTMP, [FFRTMP, "run", "--job", "-"])
    folder = Path(options.folder).resolve()
    for part in ("queue", "running", "results", "rejected", "logs"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    settle(folder)
    while True:
        for document in sorted((folder / "queue").glob("*.json")):
            name = document.name
            claimed = folder / "running" / name
            # Still in hand under the same name: this one waits.
            if claimed.exists() and not has_ended(result_of(folder, name)):
                continue
            try:
                # A rename is the claim: of several agents one gets it.
                document.rename(claimed)
            except FileNotFoundError:
                continue
            (folder / "results" / name).unlink(missing_ok=True)
            run(folder, name)
        if options.once:
            return
        time.sleep(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
