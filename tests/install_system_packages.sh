#!/bin/sh
# Install what the tests need from Debian's or Ubuntu's archive. Run as root.
set -eu

set -- openssh-server openssh-client # a real sshd on loopback, for tests/transports
set -- "$@" dash tcsh zsh            # login shells that people have
set -- "$@" chromium                 # the browser of tests/browser, driven headless
set -- "$@" netcdf-bin               # ncdump, which reads the files that storage writes

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends "$@"
