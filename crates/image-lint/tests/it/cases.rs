//! Images: what each has besides the sound one, and what is to be found in it.

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) with: &'static [&'static str],
    pub(crate) labels: &'static [(&'static str, &'static str)],
    pub(crate) expect: &'static str,
}

const fn case(name: &'static str, with: &'static [&'static str], expect: &'static str) -> Case {
    Case {
        name,
        with,
        labels: &[],
        expect,
    }
}

const fn labelled(
    name: &'static str,
    labels: &'static [(&'static str, &'static str)],
    with: &'static [&'static str],
    expect: &'static str,
) -> Case {
    Case {
        name,
        with,
        labels,
        expect,
    }
}

const BOOTC: (&str, &str) = ("containers.bootc", "1");

pub(crate) const CASES: &[Case] = &[
    case("sound", &[], "final hint, generic likely"),
    // What it is.
    case(
        "a base with a compiler",
        &["/usr/bin/gcc = x"],
        "base likely, generic likely
+ base likely /usr/bin/gcc: a compiler",
    ),
    case(
        "a base with package lists",
        &["/var/lib/apt/lists/a_Packages = x", "/usr/lib/tmpfiles.d/v.conf = C /var/lib/apt/lists\n"],
        "base likely, generic likely
+ base likely /var/lib/apt/lists: package lists",
    ),
    case(
        "what is left of a cache that was cleaned",
        &["/var/cache/apt/archives/partial/", "/usr/lib/tmpfiles.d/v.conf = d /var/cache/apt/archives/partial\n"],
        "final hint, generic likely",
    ),
    case(
        "a base with an application is final",
        &[
            "/usr/bin/make = x",
            "/etc/containers/systemd/web.container = [Container]\nImage=r.example/web\n",
        ],
        "final likely, specific certain
+ final likely /etc/containers/systemd/web.container: an application: a container that systemd runs
+ specific certain /etc/containers/systemd/web.container: an application: a container that systemd runs
+ base hint /usr/bin/make: a build tool",
    ),
    case(
        "set up at the first boot",
        &["/usr/bin/cloud-init = x", "/usr/bin/ignition = x"],
        "final hint, generic likely
+ generic likely /usr/bin/cloud-init: cloud-init sets machines up at their first boot
+ generic likely /usr/bin/ignition: Ignition sets machines up at their first boot",
    ),
    case(
        "the agents' own units are no application",
        &[
            "/usr/lib/systemd/system/cloud-init-main.service = [Install]\nWantedBy=cloud-init.target\n",
            "/etc/systemd/system/cloud-init.target.wants/cloud-init-main.service -> /usr/lib/systemd/system/cloud-init-main.service",
            "/usr/lib/sysimage/dpkg/info/x.list = /usr/bin/x\n/usr/lib/systemd/system/a.service\n",
        ],
        "final hint, generic likely",
    ),
    case(
        "a first boot that is decided already",
        &["/usr/lib/ignition/user.ign = {}", "/var/lib/cloud/seed/nocloud/user-data = #cloud-config\n",
          "/usr/lib/tmpfiles.d/v.conf = C /var/lib/cloud/seed\n"],
        "final hint, specific likely
+ specific likely /usr/lib/ignition/user.ign: an Ignition document in the image
+ specific likely /var/lib/cloud/seed/nocloud/user-data: cloud-init's user data in the image",
    ),
    // People.
    case(
        "a person",
        &["/etc/passwd = root:x:0:0::/root:/bin/bash\nkiosk:x:1000:1000::/home:/bin/sh\n"],
        "final hint, specific certain
+ specific certain /etc/passwd:2: user kiosk can log in
! warning sysusers /etc/passwd:2: the user kiosk is not declared",
    ),
    case(
        "accounts of services",
        &[
            "/etc/passwd = root:x:0:0::/root:/bin/bash\nmeter:x:480:480::/:/usr/sbin/nologin\nftp:x:1001:1001::/:/bin/false\n",
            "/usr/lib/sysusers.d/m.conf = u meter 480\nu ftp 1001\n",
        ],
        "final hint, generic likely",
    ),
    case(
        "a password",
        &["/etc/shadow = root:$y$j9T$x:20000::::::\n"],
        "final hint, specific certain
+ specific certain /etc/shadow:1: user root has a password",
    ),
    case(
        "no password at all",
        &["/etc/shadow = root::20000::::::\n"],
        "final hint, generic likely
! error empty-password /etc/shadow:1: root logs in without a password",
    ),
    case(
        "a key in a home",
        &["/home/a/.ssh/authorized_keys = # ours\nssh-ed25519 AAAA a\n"],
        "final hint, specific certain
+ specific certain /home/a/.ssh/authorized_keys:2: a key that lets somebody in",
    ),
    case(
        "a key where Ignition puts it, and an empty file",
        &[
            "/home/a/.ssh/authorized_keys.d/ignition = ssh-ed25519 AAAA a\n",
            "/home/a/.ssh/authorized_keys = # nobody\n",
        ],
        "final hint, specific certain
+ specific certain /home/a/.ssh/authorized_keys.d/ignition:1: a key that lets somebody in",
    ),
    case(
        "a key that is written at boot",
        &["/usr/lib/tmpfiles.d/k.conf = f~ /home/a/.ssh/authorized_keys 0600 root root - c3No\n"],
        "final hint, specific certain
+ specific certain /usr/lib/tmpfiles.d/k.conf:1: writes a key that lets somebody in",
    ),
    // One machine.
    case(
        "the identity of one machine",
        &["/etc/machine-id = 0123456789abcdef0123456789abcdef\n"],
        "final hint, specific certain
+ specific certain /etc/machine-id:1: the identity of one machine
! error machine-id /etc/machine-id:1: set",
    ),
    case(
        "a host key",
        &["0600 /etc/ssh/ssh_host_rsa_key = x", "/etc/ssh/ssh_host_rsa_key.pub = x"],
        "final hint, specific certain
+ specific certain /etc/ssh/ssh_host_rsa_key: the host key of one machine
! error host-key /etc/ssh/ssh_host_rsa_key: a host key",
    ),
    case(
        "a name",
        &["/etc/hostname = web-7\n"],
        "final hint, specific likely
+ specific likely /etc/hostname:1: the name web-7",
    ),
    case("a name for every machine", &["/etc/hostname = localhost\n"], "final hint, generic likely"),
    // The network.
    case(
        "an address, by networkd",
        &["/etc/systemd/network/10-a.network = [Match]\nName=en*\n[Network]\nAddress=192.0.2.7/24\n"],
        "final hint, specific certain
+ specific certain /etc/systemd/network/10-a.network:4: network configuration of one site",
    ),
    case(
        "one hint alone decides nothing",
        &["/etc/systemd/network/10-a.network = [Match]\nName=en*\n[Network]\nDHCP=yes\n"],
        "final hint, generic hint
+ specific hint /etc/systemd/network/10-a.network: network configuration",
    ),
    case(
        "two hints do",
        &[
            "/etc/systemd/network/10-a.network = [Match]\nName=en*\n[Network]\nDHCP=yes\n",
            "/etc/network/interfaces = iface lo inet loopback\niface eth0 inet dhcp\n",
        ],
        "final hint, specific hint
+ specific hint /etc/network/interfaces:2: network configuration
+ specific hint /etc/systemd/network/10-a.network: network configuration",
    ),
    case(
        "an address, by ifupdown",
        &["/etc/network/interfaces = iface lo inet loopback\niface eth0 inet static\n"],
        "final hint, specific certain
+ specific certain /etc/network/interfaces:2: network configuration",
    ),
    case(
        "an address, by NetworkManager",
        &["0600 /etc/NetworkManager/system-connections/a.nmconnection = [ipv4]\nmethod=manual\n"],
        "final hint, specific certain
+ specific certain /etc/NetworkManager/system-connections/a.nmconnection:2: network configuration of one site",
    ),
    case(
        "an address, by netplan",
        &["/etc/netplan/1.yaml = network:\n  ethernets:\n    e0:\n      addresses: [192.0.2.7/24]\n"],
        "final hint, specific certain
+ specific certain /etc/netplan/1.yaml:4: network configuration of one site",
    ),
    case(
        "an address, by ifcfg",
        &[
            "/etc/sysconfig/network-scripts/ifcfg-eth0 = IPADDR=192.0.2.7\n",
            "/etc/sysconfig/network-scripts/ifcfg-lo = IPADDR=127.0.0.1\n",
        ],
        "final hint, specific certain
+ specific certain /etc/sysconfig/network-scripts/ifcfg-eth0:1: network configuration of one site",
    ),
    case(
        "an address, by the kernel",
        &["/usr/lib/bootc/kargs.d/1.toml = kargs = [\"quiet\",\n\"ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none\"]\n"],
        "final hint, specific certain
+ specific certain /usr/lib/bootc/kargs.d/1.toml:2: network configuration: ip=192.0.2.7::192.0.2.1:255.255.255.0::eth0:none",
    ),
    case(
        "an address of no package",
        &[
            "/usr/lib/systemd/network/50-site.network = [Network]\nGateway=192.0.2.1\n",
            "/usr/lib/systemd/network/80-ve.network = [Network]\nAddress=0.0.0.0/28\n",
            "/usr/lib/sysimage/dpkg/info/a.list = /usr/lib/systemd/network/80-ve.network\n/usr/lib/systemd/system/a.service\n",
        ],
        "final hint, specific certain
+ specific certain /usr/lib/systemd/network/50-site.network:2: network configuration of one site",
    ),
    case(
        "a key that comes as a credential",
        &[
            "/usr/lib/tmpfiles.d/provision.conf = f^ /home/a/.ssh/authorized_keys 0600 root :root - ssh.authorized_keys.root\n",
        ],
        "final hint, generic likely",
    ),
    case(
        "the network of every machine",
        &[
            "/usr/lib/bootc/kargs.d/1.toml = kargs = [\"ip=dhcp\", \"ip=eth0:dhcp\"]\nmatch-architectures = [\"x86_64\"]\n",
            "/usr/lib/systemd/network/80-e.network = [Match]\nType=ether\n[Network]\nDHCP=yes\n",
        ],
        "final hint, generic likely",
    ),
    // Applications.
    case(
        "a unit of its own",
        &[
            "/etc/systemd/system/web.service = [Install]\nWantedBy=multi-user.target\n",
            "/etc/systemd/system/multi-user.target.wants/web.service -> /etc/systemd/system/web.service",
        ],
        "final likely, specific likely
+ final likely /etc/systemd/system/web.service: an application: the unit web.service of the image's own
+ specific likely /etc/systemd/system/web.service: an application: the unit web.service of the image's own",
    ),
    case(
        "a unit of no package",
        &[
            "/usr/lib/systemd/system/web.service = [Install]\nWantedBy=multi-user.target\n",
            "/etc/systemd/system/multi-user.target.wants/web.service -> /usr/lib/systemd/system/web.service",
            "/usr/lib/sysimage/dpkg/info/a.list = /lib/systemd/system/a.service\n",
        ],
        "final likely, specific likely
+ final likely /usr/lib/systemd/system/web.service: an application: web.service, which belongs to no package
+ specific likely /usr/lib/systemd/system/web.service: an application: web.service, which belongs to no package",
    ),
    case(
        "a unit of no package that the presets name",
        &[
            "/usr/lib/systemd/system/web.service = [Install]\nWantedBy=multi-user.target\n",
            "/etc/systemd/system/multi-user.target.wants/web.service -> /usr/lib/systemd/system/web.service",
            "/usr/lib/systemd/system-preset/45-os.preset = enable web.service\n",
            "/usr/lib/sysimage/dpkg/info/a.list = /usr/lib/systemd/system/a.service\n",
        ],
        "final hint, generic likely",
    ),
    case(
        "enabled with a unit that the presets enable",
        &[
            "/usr/lib/systemd/system-preset/45-os.preset = enable a.service\ndisable *\n",
            "/usr/lib/systemd/system/a.service = [Install]\nWantedBy=multi-user.target\nAlso=c.socket\n",
            "/usr/lib/systemd/system/c.socket = [Install]\nWantedBy=sockets.target\n",
            "/etc/systemd/system/sockets.target.wants/c.socket -> /usr/lib/systemd/system/c.socket",
        ],
        "final hint, generic likely",
    ),
    case(
        "enabled against the presets",
        &["/usr/lib/systemd/system-preset/99-default.preset = disable *\n"],
        "final likely, specific likely
+ final likely /usr/lib/systemd/system/a.service: an application: a.service, which is enabled although the presets of the packages leave it off
+ specific likely /usr/lib/systemd/system/a.service: an application: a.service, which is enabled although the presets of the packages leave it off
! warning preset /etc/systemd/system/multi-user.target.wants/a.service: a.service is enabled; /usr/lib/systemd/system-preset/99-default.preset:1 disables it",
    ),
    case(
        "enabled by a preset of its own",
        &["/etc/systemd/system-preset/20-site.preset = enable a.service\n"],
        "final likely, specific likely
+ final likely /usr/lib/systemd/system/a.service: an application: a.service, enabled by a preset of the image's own
+ specific likely /usr/lib/systemd/system/a.service: an application: a.service, enabled by a preset of the image's own",
    ),
    case(
        "a preset that waits for the first boot",
        &[
            "/usr/lib/systemd/system/c.service = [Install]\nWantedBy=multi-user.target\n",
            "/usr/lib/systemd/system/static.service = [Service]\n",
            "/usr/lib/systemd/system-preset/45-os.preset = # ours\nenable c.service\nenable static.service\nenable none.service\nenable a.service\ndisable c.service\n",
        ],
        "final hint, generic likely
! note preset-pending /usr/lib/systemd/system-preset/45-os.preset:2: c.service will be enabled at the first boot",
    ),
    case(
        "a quadlet without an image",
        &["/usr/share/containers/systemd/web.container = [Container]\nNetwork=none\n"],
        "final likely, specific certain
+ final likely /usr/share/containers/systemd/web.container: an application: a container that systemd runs
+ specific certain /usr/share/containers/systemd/web.container: an application: a container that systemd runs
! warning quadlet /usr/share/containers/systemd/web.container: neither Image= nor Rootfs=",
    ),
    case(
        "bound images",
        &[
            "/usr/share/containers/systemd/web.image = [Image]\nImage=r.example/web:1\n",
            "/usr/share/containers/systemd/pinned.image = [Image]\nImage=r.example/web@sha256:00\n",
            "/usr/lib/bootc/bound-images.d/web.image -> /usr/share/containers/systemd/web.image",
            "/usr/lib/bootc/bound-images.d/pinned.image -> /usr/share/containers/systemd/pinned.image",
            "/usr/lib/bootc/bound-images.d/gone.image -> /usr/share/containers/systemd/gone.image",
        ],
        "final likely, specific certain
+ final likely /usr/lib/bootc/bound-images.d/gone.image: an application: a bound image
+ specific certain /usr/lib/bootc/bound-images.d/gone.image: an application: a bound image
+ final likely /usr/lib/bootc/bound-images.d/pinned.image: an application: a bound image
+ specific certain /usr/lib/bootc/bound-images.d/pinned.image: an application: a bound image
+ final likely /usr/lib/bootc/bound-images.d/web.image: an application: a bound image
+ specific certain /usr/lib/bootc/bound-images.d/web.image: an application: a bound image
! error bound-image /usr/lib/bootc/bound-images.d/gone.image: leads nowhere
! warning bound-image-unpinned /usr/share/containers/systemd/web.image:2: r.example/web:1 is bound, and may become another image",
    ),
    // Secrets.
    case(
        "a private key",
        &[
            "0600 /etc/tls.key = a\n-----BEGIN RSA PRIVATE KEY-----\nAAAA\n",
            "/etc/tls.pem = -----BEGIN CERTIFICATE-----\nAAAA\n",
        ],
        "final hint, generic likely
! error private-key /etc/tls.key: a private key",
    ),
    case(
        "a private key of an application, and one of a package",
        &[
            "/usr/lib/app/server.key = -----BEGIN EC PRIVATE KEY-----\nAAAA\n",
            "/usr/lib/lib/test.key = -----BEGIN EC PRIVATE KEY-----\nAAAA\n",
            "/usr/lib/sysimage/dpkg/info/lib.list = /usr/lib/lib/test.key\n/usr/lib/systemd/system/a.service\n",
        ],
        "final hint, generic likely
! error private-key /usr/lib/app/server.key: a private key",
    ),
    case(
        "a registry's password",
        &["0600 /etc/ostree/auth.json = {\"auths\": {\"r\": {\"auth\": \"dTpw\"}}}\n"],
        "final hint, generic likely
! error secret /etc/ostree/auth.json: a registry's password",
    ),
    case(
        "the password of a wireless network",
        &["0600 /etc/NetworkManager/system-connections/w = [wifi]\nssid=w\n[wifi-security]\npsk=secret\n"],
        "final hint, specific certain
+ specific certain /etc/NetworkManager/system-connections/w:2: network configuration of one site
! error secret /etc/NetworkManager/system-connections/w: a network's password",
    ),
    // Boot.
    case(
        "no kernel",
        &["- /usr/lib/modules/6.12/vmlinuz"],
        "final hint, generic likely
! error kernel /usr/lib/modules: no kernel",
    ),
    case(
        "no initramfs",
        &["- /usr/lib/modules/6.12/initramfs.img"],
        "final hint, generic likely
! error kernel /usr/lib/modules/6.12: no initramfs.img beside the kernel",
    ),
    case(
        "two kernels",
        &["/usr/lib/modules/6.13/vmlinuz = k"],
        "final hint, generic likely
! error kernel /usr/lib/modules: 2 kernels",
    ),
    case(
        "a unified kernel image",
        &["- /usr/lib/modules/6.12", "/boot/EFI/Linux/6.12.efi = u"],
        "final hint, generic likely",
    ),
    case(
        "kernel arguments that are none",
        &[
            "/usr/lib/bootc/kargs.d/1.toml = kargs = [\"a\"]\nmatch-architecture = []\n",
            "/usr/lib/bootc/kargs.d/2.toml = kargs = \"a\"\n",
            "/usr/lib/bootc/kargs.d/3.toml = kargs = [\"\"]\n",
            "/usr/lib/bootc/kargs.d/README = anything\n",
        ],
        "final hint, generic likely
! error bootc-kargs /usr/lib/bootc/kargs.d/1.toml:2: unknown field `match-architecture`, expected `kargs` or `match-architectures`
! error bootc-kargs /usr/lib/bootc/kargs.d/2.toml:1: invalid type: string \"a\", expected a sequence
! error bootc-kargs /usr/lib/bootc/kargs.d/3.toml: \"\" is no kernel argument",
    ),
    case(
        "something in /boot",
        &["/boot/grub/grub.cfg = x"],
        "final hint, generic likely
! warning nonempty-boot /boot/grub: hidden at run time",
    ),
    case(
        "no /boot",
        &["- /boot"],
        "final hint, generic likely
! warning nonempty-boot /boot: not there",
    ),
    // The tree.
    case(
        "directories that are missing",
        &["- /proc", "- /tmp", "/tmp -> var/tmp"],
        "final hint, generic likely
! error api-base-directories /proc: not there
! error api-base-directories /tmp: no directory",
    ),
    case(
        "no root of ostree's",
        &["- /sysroot", "- /ostree", "/ostree -> /sysroot"],
        "final hint, generic likely
! error baseimage-root /sysroot: not there
! error baseimage-root /ostree: no link to sysroot/ostree",
    ),
    case(
        "no composefs",
        &["/usr/lib/ostree/prepare-root.conf = [composefs]\nenabled = no\n"],
        "final hint, generic likely
! note baseimage-composefs /usr/lib/ostree/prepare-root.conf:2: composefs is not enabled",
    ),
    case(
        "/etc and /usr/etc",
        &["/usr/etc/a = x"],
        "final hint, generic likely
! error etc-usretc /usr/etc: /etc is filled too",
    ),
    case(
        "names and targets that are not UTF-8",
        &["/usr/bin/\\xff = x", "/usr/share/l -> \\xff"],
        "final hint, generic likely
! error utf8 /usr/bin/\\xff: its name is not UTF-8
! error utf8 /usr/share/l: its target is not UTF-8",
    ),
    case(
        "/var/run is a directory",
        &["/var/run/a = x"],
        "final hint, generic likely
! error var-run /var/run: no link",
    ),
    case(
        "links that lead nowhere",
        &[
            "/etc/alternatives/a -> /usr/bin/gone",
            "/usr/bin/b -> ../lib/gone",
            "/usr/bin/c -> ../lib/modules/6.12/vmlinuz",
        ],
        "final hint, generic likely
! warning dangling-link /etc/alternatives/a: /usr/bin/gone is not there
! warning dangling-link /usr/bin/b: ../lib/gone is not there",
    ),
    case(
        "links to what is made at run time",
        &[
            "/etc/resolv.conf -> ../run/systemd/resolve/stub-resolv.conf",
            "/etc/mtab -> ../proc/self/mounts",
            "/etc/alternatives/a.1.gz -> /usr/share/man/man1/a.1.gz",
            "/usr/local -> ../var/usrlocal",
        ],
        "final hint, generic likely",
    ),
    case(
        "what a build left in /etc",
        &["/etc/hostname = ", "/etc/resolv.conf = "],
        "final hint, generic likely
! warning buildah-injected /etc/hostname: empty
! warning buildah-injected /etc/resolv.conf: empty",
    ),
    case(
        "a group that is not declared, and one of Debian's",
        &[
            "/etc/group = root:x:0:\nshadow:x:42:\naudio:x:29:\nsite:x:900:\n",
            "/usr/share/base-passwd/group.master = audio:*:29:\n",
        ],
        "final hint, generic likely
! warning sysusers /etc/group:4: the group site is not declared",
    ),
    case(
        "owners that may drift",
        &[
            "0640 0:900 /etc/site.conf = x",
            "0640 0:901 /etc/set.conf = x",
            "/usr/lib/tmpfiles.d/s.conf = z /etc/set.conf 0640 root site\n",
        ],
        "final hint, generic likely
! warning etc-uid-drift /etc/site.conf: belongs to 0:900, which another machine may have given away",
    ),
    case(
        "open to everybody",
        &["0666 /usr/share/a = x", "0777 /usr/share/d/", "1777 /usr/share/sticky/"],
        "final hint, generic likely
! warning world-writable /usr/share/a: everybody may write to it (0666)
! warning world-writable /usr/share/d: everybody may write to it (0777)",
    ),
    case(
        "/var",
        &[
            "/var/data/a = x",
            "/var/data/b = x",
            "/var/lib/app/state = x",
            "/var/lib/copied/x = x",
            "/usr/lib/tmpfiles.d/v.conf = d /var/lib/app 0755 root root -\nC /var/lib/copied\n",
        ],
        "final hint, generic likely
! warning var-tmpfiles /var/data: not declared, with 2 below it
! warning var-tmpfiles /var/lib/app/state: not declared",
    ),
    case(
        "logs",
        &[
            "/var/log/dpkg.log = x",
            "/var/log/btmp = ",
            "/usr/lib/tmpfiles.d/v.conf = d /var/log\n",
        ],
        "final hint, generic likely
! warning var-log /var/log/dpkg.log: a log of 1 bytes",
    ),
    case(
        "what memory is mounted over",
        &["/run/lock/", "/tmp/build = x"],
        "final hint, generic likely
! warning nonempty-run-tmp /run/lock: hidden at run time
! warning nonempty-run-tmp /tmp/build: hidden at run time",
    ),
    // Units.
    case(
        "units that are not there",
        &[
            "/etc/systemd/system/multi-user.target.wants/gone.service -> /usr/lib/systemd/system/gone.service",
            "/etc/systemd/system/alias.service -> /usr/lib/systemd/system/gone.service",
        ],
        "final hint, generic likely
! warning dangling-unit /etc/systemd/system/alias.service: /usr/lib/systemd/system/gone.service is not in the image
! warning dangling-unit /etc/systemd/system/multi-user.target.wants/gone.service: /usr/lib/systemd/system/gone.service is not in the image",
    ),
    case(
        "units that are there by another name",
        &[
            "/etc/systemd/system/multi-user.target.wants/a.service -> /lib/systemd/system/a.service",
            "/etc/systemd/system/getty.target.wants/getty@tty1.service -> /usr/lib/systemd/system/getty@.service",
            "/usr/lib/systemd/system/getty@.service = [Install]\nWantedBy=getty.target\n",
        ],
        "final hint, generic likely",
    ),
    // Labels.
    labelled("it says that it boots", &[BOOTC], &[], "final hint, generic likely"),
    labelled(
        "it does not say that it boots",
        &[("org.opencontainers.image.version", "1")],
        &[],
        "final hint, generic likely
! note label /: neither containers.bootc nor ostree.bootable is set",
    ),
    labelled(
        "it says that it is a generic base, and is",
        &[BOOTC, ("org.pleach.role", "base"), ("org.pleach.scope", "generic")],
        &[],
        "base certain, generic certain",
    ),
    labelled(
        "it says that it is generic, and is not",
        &[BOOTC, ("org.pleach.scope", "generic")],
        &["/etc/hostname = web-7\n"],
        "final hint, specific likely
+ specific likely /etc/hostname:1: the name web-7
! error declaration /etc/hostname:1: the name web-7, and org.pleach.scope says generic",
    ),
    labelled(
        "it says that it is final, and is a base",
        &[BOOTC, ("org.pleach.role", "final")],
        &["/usr/bin/gcc = x"],
        "base likely, generic likely
+ base likely /usr/bin/gcc: a compiler
! error declaration /usr/bin/gcc: a compiler, and org.pleach.role says final",
    ),
    labelled(
        "a word that is none says nothing",
        &[BOOTC, ("org.pleach.role", "both")],
        &[],
        "final hint, generic likely",
    ),
];
