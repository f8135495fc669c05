import pytest

from exporter.identity.cgroup import Place, get_place, parse_cgroups

C = "3e7ff20fd3bda12ac74d07b9687b56d04f2fdcab01cdea617c1f68e82e88f50a"
D = "f5b25a0ee0cb4819c70bd850b6edfbef7b92c8996fad2f234fb4968b89d1a110"
POD = "235ecf6f-d783-4da4-88dc-8c80999df5b9"
SLICE = POD.replace("-", "_")
STATIC = "6f3c1b1e0a4d5e6f7a8b9c0d1e2f3a4b"

CASES = {
    "host": ("/", Place()),
    "empty": ("", Place()),
    "cgroupfs_besteffort": (f"/kubepods/besteffort/pod{POD}/{C}", Place(C, POD)),
    "cgroupfs_guaranteed": (f"/kubepods/pod{POD}/{C}", Place(C, POD)),
    "cgroupfs_static_pod": (f"/kubepods/burstable/pod{STATIC}/{C}", Place(C, STATIC)),
    "private_namespace": (f"/../../../besteffort/pod{POD}/{C}", Place(C, POD)),
    "private_namespace_sibling": (f"/../{C}", Place(C)),
    "private_namespace_host": ("/../../../../system.slice/ssh.service", Place(unit="ssh.service")),
    "systemd_containerd": (
        f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}.slice/cri-containerd-{C}.scope",
        Place(C, POD),
    ),
    "systemd_crio": (
        f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-{C}.scope",
        Place(C, POD),
    ),
    "systemd_crio_container_below": (
        f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-{C}.scope/container",
        Place(C, POD),
    ),
    "systemd_crio_conmon": (
        f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-conmon-{C}.scope",
        Place("", POD),
    ),
    "systemd_static_pod": (
        f"/kubepods.slice/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{C}.scope",
        Place(C, STATIC),
    ),
    "colons": (
        f"/system.slice/containerd.service/kubepods-burstable-pod{SLICE}.slice:cri-containerd:{C}",
        Place(C, POD),
    ),
    "docker_cgroupfs": (f"/docker/{C}", Place(C)),
    "docker_systemd": (f"/system.slice/docker-{C}.scope", Place(C)),
    "docker_init_inside": (f"/system.slice/docker-{C}.scope/init.scope", Place(C, unit="init.scope")),
    "podman": (f"/machine.slice/libpod-{C}.scope/container", Place(C)),
    "podman_cgroupfs": (f"/libpod_parent/libpod-{C}.scope", Place(C)),
    "podman_rootless": (
        f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{C}.scope/container",
        Place(C),
    ),
    "podman_conmon": (f"/machine.slice/libpod-conmon-{C}.scope", Place()),
    "kind_node": (f"/docker/{D}/system.slice/containerd.service", Place(D, unit="containerd.service")),
    "kind_pod": (f"/docker/{D}/kubelet/kubepods/burstable/pod{POD}/{C}", Place(C, POD)),
    "kind_pod_systemd": (
        f"/system.slice/docker-{D}.scope/kubelet.slice/kubelet-kubepods-besteffort-pod{SLICE}.slice/cri-containerd-{C}.scope",
        Place(C, POD),
    ),
    "systemd_in_pod": (f"/kubepods/pod{POD}/{C}/system.slice/cron.service", Place(C, POD, "cron.service")),
    "lxc": ("/lxc.payload.web1/system.slice/nginx.service", Place("web1", unit="nginx.service")),
    "lxc_old": ("/lxc/101/ns/init.scope", Place("101", unit="init.scope")),
    "lxc_monitor": ("/lxc.monitor.web1", Place()),
    "nspawn": ("/machine.slice/systemd-nspawn@deb.service/payload", Place("deb")),
    "ecs_fargate": (f"/ecs/{STATIC}/{STATIC}-2531612879", Place(f"{STATIC}-2531612879")),
    "ecs": (f"/ecs/task/{C}", Place(C)),
    "service": ("/system.slice/nginx.service", Place(unit="nginx.service")),
    "template": ("/system.slice/system-getty.slice/getty@tty1.service", Place(unit="getty@tty1.service")),
    "user_service": (
        "/user.slice/user-1000.slice/user@1000.service/app.slice/syncthing.service",
        Place(unit="syncthing.service"),
    ),
    "session": ("/user.slice/user-0.slice/session-3.scope", Place(unit="session-3.scope")),
    "cluster_daemon": ("/cluster/containerd", Place()),
    "short_hex": ("/docker/3e7ff20fd3bd", Place()),
    "podman_not_pod": ("/podinfo", Place()),
    "hostile": ("/a/\udcff/../" + "x" * 5000, Place()),
}


@pytest.mark.parametrize("name", CASES)
def test_paths(name):
    path, expected = CASES[name]
    assert get_place(path) == expected


def test_v2_alone():
    assert parse_cgroups(b"0::/system.slice/ssh.service\n") == "/system.slice/ssh.service"


def test_hybrid_takes_the_path_that_knows_the_container():
    data = f"9:name=systemd:/\n4:memory:/docker/{C}\n1:cpu:/docker/{C}\n0::/\n".encode()
    assert parse_cgroups(data) == f"/docker/{C}"


def test_v2_wins_among_equals():
    data = b"4:memory:/a\n1:name=systemd:/b\n0::/c\n"
    assert parse_cgroups(data) == "/c"


def test_a_colon_in_the_path_stays():
    assert parse_cgroups(b"0::/a:b\n") == "/a:b"


@pytest.mark.parametrize("data", [b"", b"\n", b"::", b"x", b"\xff\xfe:\xff:\xff"])
def test_nonsense(data):
    assert isinstance(parse_cgroups(data), str)
