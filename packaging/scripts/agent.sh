# What is special about the agent. See service.sh.
# shellcheck shell=sh disable=SC2034

RUN=run
ADVICE="put the fleet key into /etc/waybill/fleet.key, look at /etc/waybill/agent.toml, try 'waybill-agent doctor', then start the service"
ROOTFS=/opt/waybill/rootfs

# The agent gives run and var/lib/waybill to its own user at each start.
prepare() { :; }

before_files_go() {
  # What a killed agent left in the kernel.
  "/usr/bin/$NAME" clean || true
}

after_files_went() {
  # What the agent and whoever added BTF packs wrote beside the packaged files.
  rm -rf "$ROOTFS/usr/share/waybill/btf" "$ROOTFS/run"
  rm -f "$ROOTFS"/etc/.*.new "$ROOTFS"/var/lib/waybill/agent.log*
  rm -f /var/log/waybill-agent.log*
  # What a killed waybill-bundle left.
  rm -rf /var/lib/waybill-bundle
  rmdir "$ROOTFS/usr/share/waybill" "$ROOTFS/usr/share" "$ROOTFS/usr" "$ROOTFS/etc" 2>/dev/null || true
  # Spool and host id stay; where there are none, nothing stays.
  remove_empty
}

forget_state() {
  rm -rf "$ROOTFS/var/lib/waybill"
  remove_empty
}

remove_empty() {
  for directory in "$ROOTFS/var/lib/waybill" "$ROOTFS/var/lib" "$ROOTFS/var" "$ROOTFS" /opt/waybill; do
    [ ! -d "$directory" ] || rmdir "$directory" 2>/dev/null || return 0
  done
}
