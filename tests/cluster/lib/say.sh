# Messages and waiting. Sourced. All output goes to stderr.

# Microseconds since the epoch; EPOCHREALTIME has a decimal comma in some locales.
now_us() { printf '%s' "${EPOCHREALTIME//[!0-9]/}"; }

START_US=$(now_us)

# say TEXT: one line that begins with the seconds since the script started.
say() {
    local us=$(($(now_us) - START_US))
    printf '%4d.%d s  %s\n' $((us / 1000000)) $((us % 1000000 / 100000)) "$*" >&2
}

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# die_with_log LOGFILE TEXT: prints the end of the failed component's log with the error.
die_with_log() {
    local log=$1
    shift
    if [[ -s $log ]]; then
        printf -- '--- last lines of %s\n' "$log" >&2
        tail -n 15 "$log" | cut -c1-400 >&2
        printf -- '---\n' >&2
    fi
    die "$*"
}

# wait_until SECONDS CMD...: true as soon as CMD succeeds; false after SECONDS.
wait_until() {
    local deadline=$(($(now_us) + $1 * 1000000))
    shift
    until "$@"; do
        (($(now_us) < deadline)) || return 1
        sleep 0.1
    done
}
