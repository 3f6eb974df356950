# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ffrtmp_global_optspecs
    string join \n h/help V/version
end

function __fish_ffrtmp_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ffrtmp_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ffrtmp_using_subcommand
    set -l cmd (__fish_ffrtmp_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -s V -l version -d 'Print version'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -f -a "run" -d 'Run a command under constraints, and report how it ended'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -f -a "attach" -d 'Put a running process under constraints, and report how it ends'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -f -a "ps" -d 'List what is governed on this machine, by whom, and what it uses'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -f -a "hold-cgroup" -d 'Keep the cgroup that this is started in, for jobs to live in: see ffrtmp-jobs.service'
complete -c ffrtmp -n "__fish_ffrtmp_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l job-id -d 'Name of the job: its report is kept under it, and its cgroup bears it' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l intent -d 'What it runs for [default: production]' -r -f -a "production\t''
test\t''
experiment\t''
soak\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l sla-eligible -d 'Count it towards the platform\'s service level: see ffrtmp-sup sla' -r -f -a "true\t''
false\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l tag -d 'A label for reports and ffrtmp-sup sla; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l profile -d 'Take the settings of a profile, built in or from profiles.d; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l cpu-quota -d 'Most CPU time, in percent of one core: 200 is two cores, 0 unlimited' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l cpu-max -d 'The same as "QUOTA PERIOD" in microseconds: "50000 100000" is half a core' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l cpu-weight -d 'Share of CPU time under contention, 1 to 10000 [default: 100]' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l memory-limit -d 'Most memory, in MiB or with a unit: 4096, 4GiB; 0 is unlimited' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l memory-max -d 'The same in bytes' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l memory-high -d 'Memory above which it is slowed, in MiB or with a unit' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l memory-swap -d 'Most swap, in MiB or with a unit; 0 forbids it' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l io-weight -d 'Share of disk time, 1 to 100, in percent of the kernel\'s maximum' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l io-max -d 'Limits on a disk, such as "8:0 rbps=10485760"; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l nice -d 'Scheduling priority, -20 to 19: lower is served first; below 0 needs root' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l oom-score -l oom-score-adj -d 'Who dies first when memory is short, -1000 to 1000: higher is sooner; lowering it needs root' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l tasks-max -d 'Most processes and threads' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l cpus -d 'CPUs that it may run on, such as 0-3,8' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l io-class -d 'I/O scheduling class: idle, best-effort:0-7 or realtime:0-7' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l cgroup -d 'What keeps the limits: auto, cgroup-v2, systemd, cgroup-v1 or none' -r -f -a "auto\t''
cgroup-v2\t''
systemd\t''
cgroup-v1\t''
none\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l timeout -d 'End it if it runs longer, in seconds or with a unit: 90, 2h, 1h30m' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l workdir -d 'Folder that it starts in [default: this one]' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l user -d 'User that it runs as, by name or number; needs root' -r -f -a "(__fish_complete_users)"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l env -d 'A variable of its environment; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l pid-file -d 'Keep the command\'s pid in a file while it runs' -r -F
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l job -d 'Take command and constraints from a worker\'s job document; - is standard input' -r -F
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l report -d 'Write the report to a file, at every change' -r -F
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l root -d 'Keep everything below this folder: DIR/profiles.d, DIR/state' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l strict -d 'Refuse where a constraint that is asked for cannot be put in force'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -l json -d 'Print one report on standard output at the end, and nothing else there'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -s q -l quiet -d 'No messages but errors'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l pid -d 'The process to govern' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l job-id -d 'Name of the job: its report is kept under it, and its cgroup bears it' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l intent -d 'What it runs for [default: production]' -r -f -a "production\t''
test\t''
experiment\t''
soak\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l sla-eligible -d 'Count it towards the platform\'s service level: see ffrtmp-sup sla' -r -f -a "true\t''
false\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l tag -d 'A label for reports and ffrtmp-sup sla; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l profile -d 'Take the settings of a profile, built in or from profiles.d; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l cpu-quota -d 'Most CPU time, in percent of one core: 200 is two cores, 0 unlimited' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l cpu-max -d 'The same as "QUOTA PERIOD" in microseconds: "50000 100000" is half a core' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l cpu-weight -d 'Share of CPU time under contention, 1 to 10000 [default: 100]' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l memory-limit -d 'Most memory, in MiB or with a unit: 4096, 4GiB; 0 is unlimited' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l memory-max -d 'The same in bytes' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l memory-high -d 'Memory above which it is slowed, in MiB or with a unit' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l memory-swap -d 'Most swap, in MiB or with a unit; 0 forbids it' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l io-weight -d 'Share of disk time, 1 to 100, in percent of the kernel\'s maximum' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l io-max -d 'Limits on a disk, such as "8:0 rbps=10485760"; may be given again' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l nice -d 'Scheduling priority, -20 to 19: lower is served first; below 0 needs root' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l oom-score -l oom-score-adj -d 'Who dies first when memory is short, -1000 to 1000: higher is sooner; lowering it needs root' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l tasks-max -d 'Most processes and threads' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l cpus -d 'CPUs that it may run on, such as 0-3,8' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l io-class -d 'I/O scheduling class: idle, best-effort:0-7 or realtime:0-7' -r
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l cgroup -d 'What keeps the limits: auto, cgroup-v2, systemd, cgroup-v1 or none' -r -f -a "auto\t''
cgroup-v2\t''
systemd\t''
cgroup-v1\t''
none\t''"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l report -d 'Write the report to a file, at every change' -r -F
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l root -d 'Keep everything below this folder: DIR/profiles.d, DIR/state' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l restore -d 'When letting it go, put back what was changed'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l no-move -d 'Leave it in its cgroup: limits that need one of its own are then not in force'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l strict -d 'Refuse where a constraint that is asked for cannot be put in force'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -l json -d 'Print one report on standard output at the end, and nothing else there'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -s q -l quiet -d 'No messages but errors'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand attach" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand ps" -l root -d 'As given to `ffrtmp-sup` and `ffrtmp run`, if it was' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand ps" -l json -d 'Print one JSON document'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand ps" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand hold-cgroup" -l stay -d 'Be the process that stays'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand hold-cgroup" -s h -l help -d 'Print help'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand help; and not __fish_seen_subcommand_from run attach ps hold-cgroup help" -f -a "run" -d 'Run a command under constraints, and report how it ended'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand help; and not __fish_seen_subcommand_from run attach ps hold-cgroup help" -f -a "attach" -d 'Put a running process under constraints, and report how it ends'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand help; and not __fish_seen_subcommand_from run attach ps hold-cgroup help" -f -a "ps" -d 'List what is governed on this machine, by whom, and what it uses'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand help; and not __fish_seen_subcommand_from run attach ps hold-cgroup help" -f -a "hold-cgroup" -d 'Keep the cgroup that this is started in, for jobs to live in: see ffrtmp-jobs.service'
complete -c ffrtmp -n "__fish_ffrtmp_using_subcommand help; and not __fish_seen_subcommand_from run attach ps hold-cgroup help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
