#!/bin/sh
# The image of `make image` where no registry of images is in reach: a base made from Debian's packages with
# debootstrap (as root), and wheels that this machine's pip finds, for the same version of Python as the base's.
#
#   deploy/images/offline.sh IMAGE    what it makes on the way stays in ~/.cache/hffm/image
set -eu
cd "$(dirname "$0")/../.."
image=${1:?the name of the image to make}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hffm/image
release=bookworm # whose Python is 3.11
wheels=deploy/images/wheels
trap 'rm -rf "$wheels" "$cache/unfinished"' EXIT

host=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$host" != 3.11 ]; then
  echo "error: the wheels would be for Python $host, and $release has 3.11: make .venv with PYTHON=python3.11" >&2
  exit 1
fi
if [ ! -f "$cache/$release.tar" ]; then
  mkdir -p "$cache"
  rm -rf "$cache/unfinished"
  debootstrap --variant=minbase --include=python3,python3-venv,iproute2 "$release" "$cache/unfinished" \
    http://deb.debian.org/debian
  rm -rf "$cache/unfinished/var/cache/apt" "$cache/unfinished/var/lib/apt/lists" "$cache/unfinished/usr/share/doc"
  tar --numeric-owner -C "$cache/unfinished" -cf "$cache/$release.tar.new" .
  mv "$cache/$release.tar.new" "$cache/$release.tar"
fi
docker image inspect "hffm-base:$release" >/dev/null 2>&1 || docker import "$cache/$release.tar" "hffm-base:$release"

rm -rf "$wheels"
torch=$(sed -n 's/^torch==//p' deploy/constraints.txt)
.venv/bin/python -m pip wheel --quiet --wheel-dir "$wheels" -c deploy/constraints.txt --prefer-binary \
  "torch==$torch+cpu" '.[train,digits]' 'setuptools>=77' wheel
rm -f "$wheels"/hffm-*.whl # the image builds its own, from what it is given

# Without BuildKit, which Debian's docker.io lacks; without a network, which it does not need.
DOCKER_BUILDKIT=0 docker build --network none -f deploy/images/Dockerfile -t "$image" \
  --build-arg BASE="hffm-base:$release" --build-arg PIP_OPTIONS="--no-index --find-links /wheels" .
