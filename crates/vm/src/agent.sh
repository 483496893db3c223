# The agent: runs in the guest, as root, under any POSIX sh with tar, coreutils and systemctl.
# $1 is "run", "await" (the payload waits for a reboot) or "emergency"; settle_seconds,
# heartbeat_seconds and screen_seconds are set in front of this text.
set -u
export LC_ALL=C SYSTEMD_COLORS=0 SYSTEMD_PAGER=
home=/run/pleach-vm
out=$home/out

die() {
    echo "pleach-vm agent: $*" >/dev/console
    exit 1
}

port() {
    for entry in /sys/class/virtio-ports/*; do
        if [ "$(cat "$entry/name")" = "$1" ]; then
            echo "/dev/${entry##*/}"
            return
        fi
    done
    die "no virtio port $1"
}

say() {
    read -r up rest </proc/uptime
    echo "$up $*" >&3
}

fail() {
    say fail "$*"
    send 125
    exit 1
}

# The stream is: header, tar, record. The digest covers every byte before itself.
send() {
    say send
    frame=$home/frame
    journalctl -b -o short-monotonic --no-hostname >"$out/journal" 2>/dev/null
    echo 'pleach-result 1' >"$frame"
    tar -C "$out" -cf - . >>"$frame" || die "tar fails"
    printf 'pleach-end exit=%s bytes=%s ' "$1" "$(wc -c <"$frame" | tr -d ' ')" >>"$frame"
    digest=$(sha256sum <"$frame")
    printf 'sha256=%s\n' "${digest%% *}" >>"$frame"
    cat "$frame" >"$result" || die "the result port fails"
    say sent
}

mkdir -p "$home/payload" "$out/files" || die "no $home"
progress=$(port pleach.progress) || exit 1
result=$(port pleach.result) || exit 1
exec 3>"$progress"

if [ "$1" = emergency ]; then
    say emergency
    systemctl --failed --plain --no-legend >"$out/stderr" 2>&1
    send 125
    exit 0
fi

say agent
(while sleep "$heartbeat_seconds"; do say beat; done) &
heart=$!
trap 'kill $heart' EXIT

state=$(timeout "$settle_seconds" systemctl is-system-running --wait)
if [ "$state" = starting ] || [ -z "$state" ]; then
    systemctl list-jobs --no-legend >"$out/stderr" 2>&1
    fail "the system has not settled within $settle_seconds s"
fi
say settled "$state"

disk=
for entry in /sys/block/*; do
    [ -r "$entry/serial" ] && [ "$(cat "$entry/serial")" = pleach-payload ] && disk=/dev/${entry##*/}
done
[ -n "$disk" ] || fail "no disk has the serial pleach-payload"
tar -C "$home/payload" -xf "$disk" 2>"$out/stderr" || fail "the payload does not unpack"

say command
cd "$home/payload/files" || fail "the payload has no files folder"
PLEACH_RESULT_DIR=$out/files sh ../command.sh >"$out/stdout" 2>"$out/stderr" </dev/null 3>&-
code=$?
say exit "$code"
# Who listens takes the picture now.
sleep "$screen_seconds"
send "$code"
# Nothing rebooted the machine: a failure is what powers it off.
[ "$1" != await ]
