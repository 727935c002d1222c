#!/bin/sh
# A terminal of a known size that changes while a program in a pod looks on.
stty rows 33 cols 101
{
  until kubectl exec sh -- test -e /tmp/sized </dev/null 2>/dev/null; do sleep 0.1; done
  stty rows 44 cols 55 </dev/tty
} &
kubectl exec -it sh -- sh -c '
  until stty size 2>/dev/null | grep 101; do sleep 0.1; done
  trap "stty size; exit 7" WINCH
  touch /tmp/sized
  while :; do sleep 0.1; done'
