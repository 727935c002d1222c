#!/bin/bash
# What a watch shows of a pod that is deleted.
touch "$HOME/watch"
kubectl get pod web-1 -w --output-watch-events --no-headers >"$HOME/watch" &
trap 'kill $!' EXIT
until grep -q ADDED "$HOME/watch"; do sleep 0.1; done
kubectl delete pod web-1
until grep -q DELETED "$HOME/watch"; do sleep 0.1; done
sed '/DELETED/q' "$HOME/watch" | cut -d' ' -f1 | uniq
