#!/bin/sh
# Install what the tests need from Debian's or Ubuntu's archive; with --long also what only long tests
# need. Run as root.
set -eu

long=${1:-}
set -- openssh-server openssh-client # a real sshd on loopback, for tests/transports
set -- "$@" dash tcsh zsh            # login shells that people have
set -- "$@" chromium                 # the browser of tests/browser, driven headless
set -- "$@" netcdf-bin cdo           # which read the files that storage writes
if [ "$long" = --long ]; then
    set -- "$@" libhdf5-openmpi-dev openmpi-bin gcc libc6-dev # an h5py that writes by MPI-IO
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@"
