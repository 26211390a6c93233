#!/bin/bash
# The first process of a machine, in namespaces of its own: makes its file system, and stays.
#   boot.sh NAME DISK KEYS SHARED VISIBLE...
# DISK is a folder in which nothing is lost when the machine loses its power; KEYS has its users'
# SSH key and the hosts of the network; SHARED is the folder that all machines have at /shared; the
# machine sees the VISIBLE paths as they are here, and cannot write to them.
set -euo pipefail
name=$1 disk=$2 keys=$3 shared=$4
shift 4
root=$disk/root

is_new=true
if [[ -d $disk/changes ]]; then is_new=false; fi
mkdir -p "$disk/changes" "$disk/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/changes,workdir=$disk/work" "$root"

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir -p "$root/run/sshd" "$root/run/lock"

mkdir -p "$root/shared"
mount --bind "$shared" "$root/shared"
for path in "$@"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
done
touch "$root/etc/hosts"
mount --bind "$keys/hosts" "$root/etc/hosts"
hostname "$name"

if $is_new; then
    echo "$name" > "$root/etc/hostname"
    # Python may be installed in somebody's home, which others may not enter.
    for path in "$@"; do
        while path=${path%/*} && [[ -n $path ]]; do chmod o+x "$root$path"; done
    done
    for user in sweeper:1500 other:1501; do
        login=${user%:*} id=${user#*:}
        echo "$login:x:$id:$id::/home/$login:/bin/bash" >> "$root/etc/passwd"
        echo "$login:x:$id:" >> "$root/etc/group"
        echo "$login:*:19000:0:99999:7:::" >> "$root/etc/shadow"
        home=$root/home/$login
        mkdir -p "$home"
        cp "$root"/etc/skel/.[a-z]* "$home"
        if [[ -e $keys/id_ed25519 ]]; then
            mkdir -m 700 "$home/.ssh"
            cp "$keys/id_ed25519" "$home/.ssh"
            cp "$keys/id_ed25519.pub" "$home/.ssh/authorized_keys"
        fi
        chown -R "$id:$id" "$home"
        mkdir -p "$root/etc/sudoers.d"
        echo "$login ALL=(ALL) NOPASSWD: ALL" > "$root/etc/sudoers.d/$login"
    done
    if [[ -e $keys/id_ed25519 ]]; then
        printf '%s\n' 'UsePAM no' 'MaxStartups 100' 'PasswordAuthentication no' \
            'Subsystem sftp internal-sftp' > "$root/etc/ssh/sshd_config"
        printf '%s\n' 'Host *' '    StrictHostKeyChecking accept-new' > "$root/etc/ssh/ssh_config"
        chroot "$root" ssh-keygen -A > /dev/null
    fi
fi
if [[ -e $keys/id_ed25519 ]]; then chroot "$root" /usr/sbin/sshd; fi

echo ready
cd "$root"
# A first process must take in the children of others that have ended.
exec chroot "$root" /bin/bash -c 'exec > /dev/null 2>&1; while :; do sleep 100000 & wait; done'
