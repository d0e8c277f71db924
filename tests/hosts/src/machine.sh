# The first process of a test host: makes its file system its own, then reaps.
# HOST_NAME, HOST_DIR (a folder on a real disk) come from the harness.
set -e
mount --make-rprivate /

# The engine wants the cgroups under a /sys that shows this network's devices.
mkdir -p "$HOST_DIR"/{cgroup,security,bin,home,engine,log}
mount --rbind /sys/fs/cgroup "$HOST_DIR/cgroup"
mount --rbind /sys/kernel/security "$HOST_DIR/security" 2>/dev/null || true
mount -t sysfs sysfs /sys
mount --rbind "$HOST_DIR/cgroup" /sys/fs/cgroup
mount --rbind "$HOST_DIR/security" /sys/kernel/security 2>/dev/null || true

# Private copies of what an orchestrator may write to, kept over a power loss.
for folder in /etc /var/lib /var/log; do
    layer=$HOST_DIR/layers$folder
    mkdir -p "$layer/upper" "$layer/work"
    mount -t overlay overlay -o "lowerdir=$folder,upperdir=$layer/upper,workdir=$layer/work" "$folder"
done
mount -t tmpfs tmpfs /run
mkdir -p /run/docker /run/lock

# Names of the world outside are nobody's business here.
rm -f /etc/resolv.conf
echo 'nameserver 127.0.0.1' >/etc/resolv.conf
echo "$HOST_NAME" >/etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$HOST_NAME" >/etc/hosts
hostname "$HOST_NAME"
ip link set lo up

exec 3<&0
echo ready
exec >/dev/null 2>&1
# bash reaps whatever is orphaned while it waits for the pipe to close.
cat <&3 &
wait $!
