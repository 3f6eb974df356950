# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_ffrtmp_sup_global_optspecs
    string join \n root= h/help V/version
end

function __fish_ffrtmp_sup_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_ffrtmp_sup_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_ffrtmp_sup_using_subcommand
    set -l cmd (__fish_ffrtmp_sup_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -s V -l version -d 'Print version'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "supervise" -d 'Run the jobs that the folder declares, until SIGTERM or SIGINT; the workloads run on'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "plan" -d 'Show what the supervisor would do, and why'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "status" -d 'Show what runs and what does not'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "doctor" -d 'Try which limits this host can keep'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "validate" -d 'Check files: jobs, profiles, supervisor.toml'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "explain" -d 'Explain the code of an error or a warning; without one, list all'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "schema" -d 'Print the JSON schema of a kind of file, for editors'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "sla" -d 'Compute the platform\'s service level from the reports of eligible runs'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "convert" -d 'Turn a worker\'s job document, a systemd unit or a supervisord program into a job file'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand supervise" -l wrapper -d 'The wrapper program. Default: `wrapper` of supervisor.toml, or ffrtmp beside this program' -r -F
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand supervise" -l cgroup-parent -d 'A cgroup that was delegated to us, by its path in the hierarchy, such as /system.slice/ffrtmp-jobs.service. Default: the one this program is in' -r -F
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand supervise" -l log-format -d 'How log lines look. Default: the journal if standard error leads there, else human' -r -f -a "human\t'For people'
json\t'An object a line'"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand supervise" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand supervise" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand plan" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand plan" -l json -d 'Print one JSON document'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand status" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand status" -l json -d 'Print one JSON document'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand status" -l watch -d 'Keep looking, until interrupted'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand doctor" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand doctor" -l json -d 'Print one JSON document'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand doctor" -l clean -d 'Remove empty cgroups that supervisors of this host left which live no more'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l kind -d 'What the files are; else told from folder and name' -r -f -a "job\t'A job'
profile\t'A profile'
supervisor\t'`supervisor.toml`'"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l as -d 'The name the file is going to have, if it has a temporary one' -r
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l format -d 'How to print what was found' -r -f -a "human\t'For people'
json\t'One JSON document'
sarif\t'For code scanners'
github\t'Annotations of GitHub\'s CI'"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l strict -d 'Warnings fail, too'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -l host -d 'Check this machine as well: programs, users, folders, devices, controllers, encoders'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand validate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand explain" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand schema" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand schema" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand sla" -l since -d 'Only runs that ended since then: a duration before now, such as 24h, or a time, such as 2026-01-31 or 2026-01-31T12:00:00Z' -r
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand sla" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand sla" -l json -d 'Print one JSON document'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand sla" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand convert" -l from -d 'What it is; else told from its name and content' -r -f -a "worker\t'A worker\'s job document (JSON)'
systemd\t'A systemd service unit'
supervisord\t'A supervisord configuration'"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand convert" -l program -d 'The program section of a supervisord file, where there are several' -r
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand convert" -l root -d 'Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run' -r -f -a "(__fish_complete_directories)"
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand convert" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "supervise" -d 'Run the jobs that the folder declares, until SIGTERM or SIGINT; the workloads run on'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "plan" -d 'Show what the supervisor would do, and why'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "status" -d 'Show what runs and what does not'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "doctor" -d 'Try which limits this host can keep'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "validate" -d 'Check files: jobs, profiles, supervisor.toml'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "explain" -d 'Explain the code of an error or a warning; without one, list all'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "schema" -d 'Print the JSON schema of a kind of file, for editors'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "sla" -d 'Compute the platform\'s service level from the reports of eligible runs'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "convert" -d 'Turn a worker\'s job document, a systemd unit or a supervisord program into a job file'
complete -c ffrtmp-sup -n "__fish_ffrtmp_sup_using_subcommand help; and not __fish_seen_subcommand_from supervise plan status doctor validate explain schema sla convert help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
