#!/bin/sh
# What this machine still has of the cluster: files, sockets, links, firewall, control groups, mounts, processes.
ls -d "$DATA" "/run/stead/$TAG" "/sys/class/net/stead-$TAG" 2>/dev/null
nft list tables | grep "$TAG"
find /sys/fs/cgroup -maxdepth 3 -name "*$TAG*"
grep -o " $DATA[^ ]*" /proc/mounts
for process in /proc/[0-9]*/cmdline; do
  { tr '\0' ' ' <"$process"; } 2>/dev/null | grep -E "(up|keeper) .*($DATA|$TAG)"
done
true
