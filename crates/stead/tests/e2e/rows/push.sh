#!/bin/sh
# push.sh URL REPOSITORY TAG [curl flags]: sends the image of the OCI layout to a registry.
set -e
url=$1/v2/$2 tag=$3
shift 3
cd "$HOME/archives/layout"
for blob in blobs/sha256/*; do
  to=$(curl -sSf "$@" -X POST -D - -o /dev/null "$url/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
  curl -sSf "$@" -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$blob" "$to&digest=sha256:${blob##*/}"
done
manifest=$(grep -o 'sha256:[0-9a-f]*' index.json | cut -c8-)
curl -sSf "$@" -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "@blobs/sha256/$manifest" "$url/manifests/$tag"
