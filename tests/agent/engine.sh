# A container engine in namespaces of its own: nothing of it is seen outside but its socket, and
# nothing of it outlives this script, which ends when its standard input does.
# $1 is a directory of its own. Orders come line by line: start, kill, stop. Each is answered.
set -eu
dir=$1
mkdir -p "$dir/cgroup" "$dir/data"
mount --make-rprivate /
mount --rbind /sys/fs/cgroup "$dir/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$dir/cgroup" /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/docker
echo 'nameserver 127.0.0.1' > "$dir/resolv.conf"
mount --bind "$dir/resolv.conf" /etc/resolv.conf
ip link set lo up
pid=

gone() { # waits for the process of a pid file to be gone
    if [ -s "$1" ]; then
        while kill -0 "$(cat "$1")" 2> /dev/null; do sleep 0.02; done
        rm -f "$1"
    fi
}

while read -r order; do
    case $order in
        start)
            dockerd --data-root "$dir/data" --exec-root /run/docker --pidfile /run/dockerd.pid \
                --host "unix://$dir/docker.sock" --cgroup-parent "$2" --live-restore \
                --bridge none --iptables=false --ip6tables=false \
                >> "$dir/dockerd.log" 2>&1 < /dev/null &
            pid=$!
            echo started
            ;;
        kill | stop)
            if [ "$order" = kill ]; then kill -9 "$pid"; else kill "$pid"; fi
            wait "$pid" 2> /dev/null || :
            gone /run/docker/containerd/containerd.pid
            rm -f /run/dockerd.pid
            echo ended
            ;;
    esac
done
