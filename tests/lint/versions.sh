# Which lint tools are used, and where they are kept. Sourced.
# Debian's archive decides the version of shellcheck. typos comes from PyPI, as a wheel that holds the program.

TYPOS_VERSION=1.52.0
TYPOS_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/multus-rs/typos-$TYPOS_VERSION
TYPOS=$TYPOS_CACHE/bin/typos
ACTIONLINT_VERSION=1.7.12
ACTIONLINT=${XDG_CACHE_HOME:-$HOME/.cache}/multus-rs/actionlint-$ACTIONLINT_VERSION/actionlint
