# What is special about the collector. See service.sh.
# shellcheck shell=sh disable=SC2034

RUN=serve
ADVICE="put certificate, key and tokens where /etc/waybill/collector.toml says, try 'waybill-collector check-config', then start the service"
STATE=/var/lib/waybill-collector
ACCOUNT=waybill-collector

prepare() {
  if ! id -u "$ACCOUNT" >/dev/null 2>&1; then
    if command -v useradd >/dev/null 2>&1; then
      useradd --system --user-group --no-create-home --home-dir "$STATE" \
        --shell /usr/sbin/nologin "$ACCOUNT"
    else
      addgroup -S "$ACCOUNT"
      adduser -S -D -H -h "$STATE" -s /sbin/nologin -G "$ACCOUNT" "$ACCOUNT"
    fi
  fi
  give "$ACCOUNT" 0750
}

# Gives the store to an account, the directory last: whoever owns that may have put links there.
give() {
  owned=$(find "$STATE" -prune -user "$1")
  [ -z "$owned" ] || return 0
  chown root:root "$STATE"
  chmod 0700 "$STATE"
  find "$STATE" ! -path "$STATE" -exec chown -h "$1:$1" '{}' +
  chmod "$2" "$STATE"
  chown "$1:$1" "$STATE"
}

before_files_go() {
  # Where an administrator enabled its socket, a connection would start the service again.
  if has_systemd; then
    if systemctl --quiet is-active "$NAME.socket"; then
      drop_socket
      stop_service
    fi
  fi
}

after_files_went() {
  # The next account may get the same number: it must not get the store with it.
  if [ -d "$STATE" ]; then
    give root 0700
  fi
  rm -f /var/log/waybill-collector.log*
  if id -u "$ACCOUNT" >/dev/null 2>&1; then
    if command -v userdel >/dev/null 2>&1; then
      userdel "$ACCOUNT" || true
    else
      deluser "$ACCOUNT" || true
    fi
  fi
  rmdir "$STATE" 2>/dev/null || true
}

forget_state() {
  rm -rf "$STATE"
}
