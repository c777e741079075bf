# Messages from shell tasks, sent through the pipe on which bb.build listens (LOGFIFO is open in the task).

LOGFIFO = "${T}/fifo.${@os.getpid()}"

bbmessage() {
    # $1: kind, rest: text
    kind=$1
    shift
    if [ -p "${LOGFIFO}" ]; then
        printf '%b\0' "$kind $*" >"${LOGFIFO}"
    else
        echo "${kind#bb}: $*"
    fi
}

bbplain() {
    bbmessage bbplain "$*"
}

bbnote() {
    bbmessage bbnote "$*"
}

bbverbnote() {
    bbmessage bbverbnote "$*"
}

bbdebug() {
    level=$1
    shift
    bbmessage bbdebug "$level $*"
}

bbwarn() {
    bbmessage bbwarn "$*"
}

bberror() {
    bbmessage bberror "$*"
}

bbfatal() {
    bbmessage bbfatal "$*"
    exit 1
}

bbfatal_log() {
    bbmessage bbfatal_log "$*"
    exit 1
}

die() {
    bbfatal_log "$*"
}
