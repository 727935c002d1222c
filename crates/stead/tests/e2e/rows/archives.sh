#!/bin/sh
# Archives made of the busybox one: damaged ones, one for another processor, and an OCI layout.
set -e
cd "$HOME" && mkdir archives && cd archives
good="$STEAD_IMAGES/busybox.tar"
head -c 100000 "$good" >cut.tar
head -c 100000 /dev/urandom >noise.tar
: >empty.tar
mkdir parts && tar xf "$good" -C parts
layer=$(echo parts/*/layer.tar) config=$(echo parts/*[0-9a-f].json | tr ' ' '\n' | grep -v manifest)
cp "$layer" layer && printf 'damage' | dd of="$layer" bs=1 seek=1000000 conv=notrunc 2>/dev/null
tar cf flipped.tar -C parts .
cp layer "$layer"
sed 's/"architecture":"[^"]*"/"architecture":"s390x"/' "$config" >parts/other.json
cp parts/manifest.json saved && sed -i 's/"Config":"[^"]*"/"Config":"other.json"/' parts/manifest.json
tar cf other.tar -C parts .

mkdir -p layout/blobs/sha256
put() { sum=$(sha256sum "$1" | cut -c1-64) && cp "$1" "layout/blobs/sha256/$sum" && size=$(stat -c %s "$1"); }
put layer && layers="[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"sha256:$sum\",\"size\":$size}]"
put "$config" && config="{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:$sum\",\"size\":$size}"
manifest=application/vnd.oci.image.manifest.v1+json
echo "{\"schemaVersion\":2,\"mediaType\":\"$manifest\",\"config\":$config,\"layers\":$layers}" >manifest && put manifest
name='"annotations":{"org.opencontainers.image.ref.name":"example.com/laid:1"}'
echo "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"$manifest\",\"digest\":\"sha256:$sum\",\"size\":$size,$name}]}" >layout/index.json
echo '{"imageLayoutVersion":"1.0.0"}' >layout/oci-layout
tar cf layout.tar -C layout .
