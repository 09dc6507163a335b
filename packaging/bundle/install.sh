#!/bin/sh
# Installs, upgrades or removes Waybill on a host without any network. Needs sh, tar and gzip.
#
# Nothing is changed before the whole bundle has been verified, by the static agent itself.
# Everything is in functions that the last line calls: a script that was cut off does nothing.
set -eu
PATH=$PATH:/usr/sbin:/sbin

usage() {
  cat <<'TEXT'
usage: install.sh [options] [agent] [collector]

Installs or upgrades the agent, or what is named.

  --check        verify, and say what would be done; changes nothing
  --key FILE     the makers' public key, from a place that you trust
  --with KIND    deb, rpm or tar, instead of what this host has
  --uninstall    remove; configuration that was changed, spool and store stay
  --purge        remove, with configuration, spool and store
  --help         this text

Without --key, /etc/waybill/release.pub is taken. Where that is not there either, the key in the
bundle is: this finds damage, but not a forger who exchanged the key as well.
TEXT
}

fail() {
  echo "install.sh: $*" >&2
  exit 1
}

# One line per step; the step itself only without --check.
step() {
  echo "  $*"
  if [ "$check" = no ]; then
    "$@" || fail "this failed: $*"
  fi
}

# Everything in the bundle is as it was signed, or nothing is done.
verify() {
  tool=$here/bin/waybill-agent
  # One that is here already was verified when it came.
  if /usr/bin/waybill-agent verify --help >/dev/null 2>&1; then
    tool=/usr/bin/waybill-agent
  fi
  if [ -z "$key" ] && [ -f /etc/waybill/release.pub ]; then
    key=/etc/waybill/release.pub
  fi
  if [ -z "$key" ]; then
    key=$here/waybill.pub
    echo "install.sh: the key of the bundle itself is taken; --key FILE takes yours" >&2
  fi
  "$tool" verify "$here" --key "$key" || fail "the bundle is damaged or forged; nothing was changed"
  # A second opinion, where there is one: the verifier came with the bundle, too.
  if command -v sha256sum >/dev/null 2>&1; then
    (cd "$here" && sha256sum -c SHA256SUMS >/dev/null 2>&1) ||
      fail "sha256sum finds the bundle damaged; nothing was changed"
  fi
}

# What this host installs packages with.
detect() {
  if command -v dpkg >/dev/null 2>&1 && [ -s /var/lib/dpkg/status ]; then
    echo deb
  elif command -v rpm >/dev/null 2>&1 && rpm -qa 2>/dev/null | grep -q .; then
    echo rpm
  else
    echo tar
  fi
}

# How a package is installed here: deb, rpm, tar or none.
installed_by() {
  status=
  if command -v dpkg-query >/dev/null 2>&1; then
    status=$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) || status=
  fi
  # What was removed but not purged can still be purged.
  if [ "$status" = installed ] || { [ "$status" = config-files ] && [ "$purge" = yes ]; }; then
    echo deb
  elif command -v rpm >/dev/null 2>&1 && rpm -q "$1" >/dev/null 2>&1; then
    echo rpm
  elif [ -f "/usr/share/waybill/$1.files" ]; then
    echo tar
  else
    echo none
  fi
}

# The one file of the bundle that matches.
package() {
  for file in "$here"/packages/$1; do
    [ -f "$file" ] || fail "the bundle has no $1: it is for another architecture than this host's"
    echo "$file"
    return 0
  done
}

add_packs() {
  folder=/opt/waybill/rootfs/usr/share/waybill/btf
  if [ "$1" = waybill-agent ] && [ -d "$folder" ]; then
    cp -R "$here/btf/." "$folder/"
  fi
}

unpack() {
  gzip -dc "$1" | (cd / && tar -xf -)
}

install_one() {
  name=$1
  now=$(installed_by "$name")
  kind=$with
  [ -n "$kind" ] || kind=$now
  [ "$kind" != none ] || kind=$(detect)
  if [ "$now" != none ] && [ "$now" != "$kind" ]; then
    fail "$name is installed as $now: uninstall it before it is installed as $kind"
  fi
  if [ "$now" = none ]; then
    echo "$name: install as $kind"
  else
    echo "$name: upgrade as $kind"
    step add_packs "$name"
  fi
  machine=$(uname -m)
  case $kind in
    deb)
      case $machine in x86_64) machine=amd64 ;; aarch64) machine=arm64 ;; esac
      file=$(package "${name}_*_$machine.deb")
      step dpkg --force-confold -i "$file"
      ;;
    rpm)
      file=$(package "$name-*.$machine.rpm")
      step rpm -U --oldpackage --replacepkgs "$file"
      ;;
    tar)
      file=$(package "$name-*.$machine.tar.gz")
      if [ "$now" = tar ]; then
        step "/usr/share/waybill/$name.setup" before-upgrade
      fi
      step unpack "$file"
      step "/usr/share/waybill/$name.setup" install
      ;;
    *) fail "--with is deb, rpm or tar" ;;
  esac
  if [ "$now" = none ]; then
    step add_packs "$name"
  fi
}

run_setup() {
  sh -c "$setup" "$name" "$1"
}

# Removes what the list names, files before the folders they are in.
remove_listed() {
  reversed=
  while IFS= read -r path; do
    reversed="$path
$reversed"
  done <"/usr/share/waybill/$1.files"
  printf '%s' "$reversed" | while IFS= read -r path; do
    if [ -d "/$path" ] && [ ! -L "/$path" ]; then
      rmdir "/$path" 2>/dev/null || true
    else
      rm -f "/$path"
    fi
  done
}

remove_one() {
  name=$1
  now=$(installed_by "$name")
  case $now in
    none)
      echo "$name: not installed"
      return 0
      ;;
    deb)
      echo "$name: remove"
      if [ "$purge" = yes ]; then
        step dpkg -P "$name"
      else
        step dpkg -r "$name"
      fi
      ;;
    rpm)
      echo "$name: remove"
      if [ "$purge" = yes ]; then
        WAYBILL_PURGE=1
        export WAYBILL_PURGE
      fi
      step rpm -e "$name"
      ;;
    tar)
      echo "$name: remove"
      # The script goes with the files, and has more to do then.
      setup=$(cat "/usr/share/waybill/$name.setup")
      step run_setup before-remove
      if [ "$purge" = yes ]; then
        step run_setup purge
      fi
      step remove_listed "$name"
      step run_setup after-remove
      ;;
  esac
}

main() {
  here=$(cd "$(dirname "$0")" && pwd)
  check=no key='' with='' uninstall=no purge=no names=''
  while [ $# -gt 0 ]; do
    case $1 in
      --check) check=yes ;;
      --key)
        [ $# -gt 1 ] || fail "--key needs a file"
        key=$2
        shift
        ;;
      --with)
        [ $# -gt 1 ] || fail "--with needs deb, rpm or tar"
        with=$2
        shift
        ;;
      --uninstall) uninstall=yes ;;
      --purge) uninstall=yes purge=yes ;;
      --help)
        usage
        return 0
        ;;
      agent | collector) names="$names waybill-$1" ;;
      *)
        usage >&2
        exit 2
        ;;
    esac
    shift
  done
  names=${names:-waybill-agent}
  verify
  if [ "$check" = no ] && [ "$(id -u)" -ne 0 ]; then
    fail "this needs root"
  fi
  for one in $names; do
    if [ "$uninstall" = yes ]; then
      remove_one "$one"
    else
      install_one "$one"
    fi
  done
  if [ "$check" = yes ]; then
    echo "nothing was changed"
  fi
}

main "$@"
