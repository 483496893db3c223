# A customization, carried out on the machine itself by its own tools. The rules are Ignition's:
# accounts first, then files from the shallowest path to the deepest, then units; what is there
# already is replaced only where the document says overwrite.
set -eu
# What is written is root's alone until it is whole and has its mode.
umask 077

fail() {
    printf 'pleach: %s\n' "$*" >&2
    exit 1
}

# parents PATH: makes the directories above it that are missing. The point keeps a line break at a
# name's end, which a substitution would lose.
parents() {
    parent=$(readlink -mn -- "${1%/*}/" && printf .)
    parent=${parent%.}
    made "$parent"
}

# made PATH: a directory, root's own also where the one above it gives its group to what is made in it.
made() {
    if [ -z "$1" ] || [ -d "$1" ]; then return; fi
    made "${1%/*}"
    mkdir -- "$1"
    chown -- 0:0 "$1"
    chmod -- 00755 "$1"
}

# clear PATH OVERWRITE: nothing is there afterwards.
clear() {
    if [ "$2" = yes ]; then
        rm -rf -- "$1"
    elif [ -e "$1" ] || [ -L "$1" ]; then
        fail "$1 exists already and overwrite is false"
    fi
}

# file PATH OVERWRITE MODE OWNER: standard input becomes the file.
file() {
    parents "$1"
    if [ "$2" = no ] || { [ -d "$1" ] && [ ! -L "$1" ]; }; then clear "$1" "$2"; fi
    new=${1%/*}/.pleach.new
    rm -f -- "$new"
    (set -C && cat >"$new")
    chown -- "$4" "$new"
    chmod -- "$3" "$new"
    mv -fT -- "$new" "$1"
}

# amend PATH MODE OWNER: standard input is added to the file; - leaves mode or owner as it is.
amend() {
    mode=$2
    if [ -f "$1" ] && [ ! -L "$1" ]; then
        if [ "$mode" = - ]; then mode=$(stat -c 0%a -- "$1"); else chmod -- "$mode" "$1"; fi
    elif [ -e "$1" ] || [ -L "$1" ]; then
        fail "$1 exists already and is no regular file"
    else
        parents "$1"
        (set -C && : >"$1")
        chown -- 0:0 "$1"
        if [ "$mode" = - ]; then mode=0644; fi
    fi
    cat >>"$1"
    if [ "$3" != - ]; then chown -- "$3" "$1"; fi
    chmod -- "$mode" "$1"
}

# directory PATH OVERWRITE MODE OWNER: - leaves mode or owner of one that is there as it is.
directory() {
    if [ "$2" = yes ] || [ ! -d "$1" ] || [ -L "$1" ]; then clear "$1" "$2"; fi
    mode=$3
    if [ ! -d "$1" ]; then
        parents "$1"
        mkdir -- "$1"
        chown -- 0:0 "$1"
        if [ "$mode" = - ]; then mode=00755; fi
    fi
    if [ "$4" != - ]; then chown -- "$4" "$1"; fi
    if [ "$mode" != - ]; then chmod -- "$mode" "$1"; fi
}

# link PATH OVERWRITE TARGET OWNER
link() {
    if [ "$2" = no ] && [ -L "$1" ] && [ "$(readlink -n -- "$1" && printf .)" = "$3." ]; then return; fi
    clear "$1" "$2"
    parents "$1"
    ln -sT -- "$3" "$1"
    chown -h -- "$4" "$1"
}

# hard_link PATH OVERWRITE TARGET
hard_link() {
    if [ ! -f "$3" ] || [ -L "$3" ]; then fail "hard link $1: no regular file at $3"; fi
    clear "$1" "$2"
    parents "$1"
    ln -T -- "$3" "$1"
}

# remove_user NAME, remove_group NAME
remove_user() {
    if getent passwd "$1" >/dev/null; then userdel --remove "$1"; fi
}
remove_group() {
    if getent group "$1" >/dev/null; then groupdel "$1"; fi
}

# group NAME GID [OPTION]: - lets groupadd choose.
group() {
    name=$1 gid=$2
    shift 2
    if [ "$gid" != - ]; then set -- --gid "$gid" "$@"; fi
    if ! getent group "$name" >/dev/null; then
        groupadd "$@" "$name"
    elif [ "$gid" != - ] && [ "$(getent group "$name" | cut -d: -f3)" != "$gid" ]; then
        groupmod --gid "$gid" "$name"
    fi
}

# new_user NAME HOME [OPTION ...]: makes an account; its parents are not useradd's to make.
new_user() {
    name=$1 home=$2
    shift 2
    if [ "$home" = - ]; then home=$(useradd -D | sed -n 's/^HOME=//p')/$name; fi
    parents "$home"
    useradd --home-dir "$home" --password '*' "$@" "$name"
}

# same_user NAME UID HOME: the files of an account that is there would not follow it elsewhere.
same_user() {
    now=$(getent passwd "$1")
    if [ "$2" != - ] && [ "$(printf %s "$now" | cut -d: -f3)" != "$2" ]; then
        fail "user '$1' exists with another uid than $2"
    fi
    if [ "$3" != - ] && [ "$(printf %s "$now" | cut -d: -f6)" != "$3" ]; then
        fail "user '$1' exists with another home_dir than $3"
    fi
}

# keys NAME: standard input becomes the user's authorized_keys.
keys() {
    owner=$(id -u "$1"):$(id -g "$1")
    home=$(readlink -m -- "$(getent passwd "$1" | cut -d: -f6)")
    for dir in "$home" "$home/.ssh"; do
        if [ ! -d "$dir" ]; then directory "$dir" no 00700 "$owner"; fi
    done
    file "$home/.ssh/authorized_keys" yes 00600 "$owner"
}

# mask NAME, unmask NAME, disable NAME
mask() {
    if [ "$(readlink -- "/etc/systemd/system/$1" || :)" != /dev/null ]; then
        link "/etc/systemd/system/$1" yes /dev/null 0:0
    fi
}
unmask() {
    if [ "$(readlink -- "/etc/systemd/system/$1" || :)" = /dev/null ]; then
        rm -- "/etc/systemd/system/$1"
    fi
}
disable() {
    if [ "$(systemctl is-enabled -- "$1" 2>/dev/null || :)" != not-found ]; then
        systemctl --quiet disable -- "$1"
    fi
}
