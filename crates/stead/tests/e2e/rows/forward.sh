#!/bin/bash
# Eight requests at once through one port-forward, and one to a port where nobody listens.
touch "$HOME/forward"
kubectl port-forward pod/web-0 :80 :81 >"$HOME/forward" 2>"$HOME/forward.err" &
# It ends by itself once a port was refused.
trap 'kill $! 2>/dev/null' EXIT
until ports=($(grep -o '127.0.0.1:[0-9]*' "$HOME/forward")) && [ ${#ports[@]} = 2 ]; do sleep 0.1; done
curl -sZ "http://${ports[0]}/?[1-8]" 2>/dev/null
curl -s "http://${ports[1]}/" || echo "closed"
until grep -q refused "$HOME/forward.err"; do sleep 0.1; done
