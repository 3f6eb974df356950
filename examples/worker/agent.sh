#!/bin/sh
# A worker agent: takes job documents from FOLDER/queue, one after the other, and leaves result documents in
# FOLDER/results. See README.md beside this file.
#
#   agent.sh FOLDER          until it is ended
#   agent.sh --once FOLDER   until the queue is empty
#   agent.sh -               one document from standard input, its result on standard output
set -eu

FFRTMP=${FFRTMP:-ffrtmp}
once=false
[ "${1:-}" != --once ] || { once=true; shift; }
[ $# = 1 ] || { echo "usage: agent.sh [--once] FOLDER, or agent.sh -" >&2; exit 2; }
[ "$1" != - ] || exec "$FFRTMP" run --job -

cd "$1"
mkdir -p queue running results rejected logs

# A result says why the run ended once it has, and null before.
has_ended() {
    [ -e "results/$1" ] && grep -q '^  "exit_reason": "' "results/$1"
}

# What an agent before this one has left behind: its workloads run on without it, and so do those that
# write their results.
settle() {
    for document in running/*.json; do
        name=${document##*/}
        if [ ! -e "$document" ]; then
            continue
        elif has_ended "$name"; then
            rm -f "$document"
        elif [ -e "results/$name" ]; then
            echo "agent: $name goes on; its result comes to results/$name" >&2
        else
            # It may have begun just now, so it is not started a second time.
            echo "agent: $name was taken, and nothing is known of it; to run it, move it back into queue" >&2
        fi
    done
}

run() {
    echo "agent: $1 begins" >&2
    code=0
    "$FFRTMP" run --job "running/$1" --report "results/$1" </dev/null >"logs/$1.log" 2>&1 || code=$?
    if has_ended "$1"; then
        rm -f "running/$1"
        echo "agent: $1 ended with $code: results/$1" >&2
    elif [ -e "results/$1" ]; then
        echo "agent: the wrapper of $1 is gone, the workload goes on; its result comes to results/$1" >&2
    else
        mv "running/$1" "rejected/$1"
        mv "logs/$1.log" "rejected/$1.txt"
        echo "agent: $1 cannot be run: rejected/$1.txt says why" >&2
    fi
}

settle
while :; do
    for document in queue/*.json; do
        name=${document##*/}
        # Still in hand under the same name: this one waits.
        [ ! -e "running/$name" ] || has_ended "$name" || continue
        # A rename is the claim: of several agents one gets it.
        mv "$document" "running/$name" 2>/dev/null || continue
        rm -f "results/$name"
        run "$name"
    done
    ! $once || exit 0
    sleep 1
done
