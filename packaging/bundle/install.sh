#!/bin/sh
# Installs, upgrades or removes Waybill on a host without any network. Needs sh, tar and gzip.
#
# Whoever starts this runs what is written here, so a host that has an agent starts waybill-bundle
# instead, which checks the bundle first. Nothing is changed before the whole bundle was verified.
# Everything is in functions that the last line calls: a script that was cut off does nothing.
# Every step can be interrupted and done again.
set -eu
PATH=$PATH:/usr/sbin:/sbin
CDPATH=
LC_ALL=C
export LC_ALL
# What is installed has the modes that it was packed with, whoever installs.
umask 022

usage() {
  cat <<'TEXT'
usage: install.sh [options] [agent] [collector]

Installs or upgrades the agent, or what is named.

  --check        verify, and say what would be done; changes nothing
  --key FILE     the makers' public key, from a place that you trust
  --with KIND    deb, rpm or tar, instead of what this host has
  --uninstall    remove; configuration that was changed, spool and store stay
  --purge        remove, with configuration, spool and store
  --verified     do not verify: whoever started this has done it (waybill-bundle)
  --help         this text

Where an agent is installed already, use instead: waybill-bundle FILE.tar.gz

Without --key, /etc/waybill/release.pub is taken. Where that is not there either, the key in the
bundle is: this finds damage, but not a forger who exchanged the key as well. So compare the key,
and the SHA-256 of the bundle's file, with what its makers say elsewhere, before you start this.
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

# The folder of this script, which is the bundle.
find_bundle() {
  script=$0
  if [ -L "$script" ]; then
    script=$(readlink -f "$script" 2>/dev/null) ||
      fail "$0 is a link: start it by its own path, in the folder of the bundle"
  fi
  here=$(cd -- "$(dirname -- "$script")" && pwd -P)
  if [ ! -f "$here/SHA256SUMS" ] || [ ! -f "$here/install.sh" ]; then
    fail "$here is not the folder of a bundle: start this as sh FOLDER/install.sh"
  fi
}

# Everything in the bundle is as it was signed, or nothing is done.
verify() {
  tool=$here/bin/waybill-agent
  # One that is here already was verified when it came.
  if /usr/bin/waybill-agent verify --help >/dev/null 2>&1; then
    tool=/usr/bin/waybill-agent
    echo "install.sh: this host has an agent: next time start waybill-bundle, which verifies first" >&2
  elif ! "$tool" version >/dev/null 2>&1; then
    fail "$tool cannot be executed here, so nothing was verified and nothing was changed: is it on a
  file system mounted noexec (copy the bundle elsewhere), or for another architecture than $(uname -m)?"
  fi
  if [ -z "$key" ] && [ -f /etc/waybill/release.pub ]; then
    key=/etc/waybill/release.pub
  fi
  if [ -z "$key" ]; then
    key=$here/waybill.pub
    echo "install.sh: the key of the bundle itself is taken: $(head -c 64 "$key")" >&2
    echo "install.sh: compare it with the makers' own words; --key FILE takes yours" >&2
  fi
  code=0
  "$tool" verify "$here" --key "$key" || code=$?
  case $code in
    0) ;;
    1) fail "the bundle is damaged or forged; nothing was changed" ;;
    2) fail "the key $key cannot be used; nothing was changed" ;;
    *) fail "$tool ended with $code, so nothing is known of the bundle; nothing was changed" ;;
  esac
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

# Where an archive is unpacked before its files get their places.
staged() {
  echo "/var/lib/waybill-unpack.$1"
}

unpack() {
  to=$(staged "$1")
  rm -rf "$to"
  mkdir -m 0700 "$to"
  gzip -dc "$2" | (cd "$to" && tar -xpf -)
}

# Paths of a list, whose lines are a mode (or the word link) and a path.
paths() {
  sed 's/^[0-9a-z]* //' "$1"
}

# Writes a list beside its place; it is there whole or not at all.
write_list() {
  cat >"/usr/share/waybill/.$1.files.new"
  mv -f "/usr/share/waybill/.$1.files.new" "/usr/share/waybill/$1.files"
}

# Gives what was unpacked its places: each file beside the one it replaces, then by its name, so
# that there is the old one or the new one at any time.
place() {
  from=$(staged "$1")
  new=$from/usr/share/waybill/$1.files
  old=/usr/share/waybill/$1.files
  mkdir -p /usr/share/waybill
  # What is listed can be removed: from the first moment on, all that is old or new.
  : >"$from/old"
  [ ! -f "$old" ] || paths "$old" >"$from/old"
  sed 's/^/0000 /' "$from/old" | cat "$new" - | sort -s -u -k 2 | write_list "$1"
  while read -r mode path; do
    case $mode in
      d*)
        [ -d "/$path" ] || mkdir -p "/$path"
        chmod "${mode#d}" "/$path"
        ;;
      *)
        folder=/${path%/*}
        [ -d "$folder" ] || mkdir -p "$folder"
        cp -pP "$from/$path" "$folder/.waybill.new"
        mv -f "$folder/.waybill.new" "/$path"
        ;;
    esac
  done <"$new"
  # Only what this version has no more.
  paths "$new" >"$from/paths"
  sort -r "$from/old" | while IFS= read -r path; do
    grep -qxF -e "$path" "$from/paths" || remove_path "$path"
  done
  write_list "$1" <"$new"
  rm -rf "$from"
}

remove_path() {
  if [ -d "/$1" ] && [ ! -L "/$1" ]; then
    rmdir "/$1" 2>/dev/null || true
  else
    rm -f "/$1"
  fi
}

setup_staged() {
  sh "$(staged "$1")/usr/share/waybill/$1.setup" "$2"
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
      step unpack "$name" "$file"
      if [ "$now" = tar ]; then
        step setup_staged "$name" before-upgrade
      else
        step setup_staged "$name" before-first
      fi
      step place "$name"
      step sh "/usr/share/waybill/$name.setup" install
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
  list=/usr/share/waybill/$1.files
  paths "$list" | sort -r | while IFS= read -r path; do
    [ "/$path" = "$list" ] || remove_path "$path"
  done
}

# From now on it is not installed.
remove_list() {
  rm -f "/usr/share/waybill/$1.files"
  rmdir /usr/share/waybill 2>/dev/null || true
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
      # The script goes with the files, and has more to do then. Where a removal was interrupted,
      # it went already.
      if [ ! -f "/usr/share/waybill/$name.setup" ] && [ "$check" = no ]; then
        unpack "$name" "$(package "$name-*.$(uname -m).tar.gz")"
        setup=$(cat "$(staged "$name")/usr/share/waybill/$name.setup")
        rm -rf "$(staged "$name")"
      else
        setup=$(cat "/usr/share/waybill/$name.setup")
      fi
      step run_setup before-remove
      if [ "$purge" = yes ]; then
        step run_setup purge
      fi
      step remove_listed "$name"
      step run_setup after-remove
      step remove_list "$name"
      ;;
  esac
}

main() {
  find_bundle
  check=no verified=no key='' with='' uninstall=no purge=no names=''
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
      --verified) verified=yes ;;
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
  [ "$verified" = yes ] || verify
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
