//! The test hosts themselves, with real engines.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use testhosts::{Hosts, IMAGE_TOOLS, IMAGE_WEB_1, Probe, Setup, eventually};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn hosts_run_engines_that_a_client_on_the_wire_can_reach() -> Result<()> {
    let hosts = Hosts::with_engines(&Setup::engines(2))?;
    let run = ["run", "-d", "--name", "web", "-p", "8080:80", IMAGE_WEB_1];
    hosts.each(|host| host.docker(&run)?.ok())?;
    for host in hosts.iter() {
        let web = SocketAddr::new(IpAddr::V4(host.address()), 8080);
        let reply = eventually("the web server answers", SOON, || {
            hosts.client().get(web, "/", SOON)
        })?;
        assert_eq!(reply.word("version").as_deref(), Some("1"));
        assert_eq!(
            reply.word("client"),
            Some(hosts.client().address().to_string())
        );
        assert_eq!(host.containers(None)?, ["web"]);
    }
    let other = hosts[1].address().to_string();
    let said = hosts[0].docker(&[
        "run",
        "--rm",
        IMAGE_TOOLS,
        "wget",
        "-qO-",
        &format!("http://{other}:8080/"),
    ])?;
    assert!(said.ok()?.contains("version=1"));
    Ok(())
}

#[test]
fn containers_outlive_a_killed_engine_but_no_power_loss() -> Result<()> {
    let hosts = Hosts::with_engines(&Setup::engines(1))?;
    let host = &hosts[0];
    host.docker(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "host",
        IMAGE_WEB_1,
    ])?
    .ok()?;
    let web = SocketAddr::new(IpAddr::V4(host.address()), 80);
    let answers = || hosts.client().get(web, "/", SOON);
    eventually("the web server answers", SOON, answers)?;

    host.kill_engine()?;
    answers()?;
    host.start_engine()?;
    assert_eq!(host.containers(None)?, ["web"]);

    host.link_down()?;
    assert!(
        hosts
            .client()
            .get(web, "/", Duration::from_millis(300))
            .is_err()
    );
    host.link_up()?;
    eventually("the link is mended", SOON, answers)?;

    host.sh("echo kept >/var/lib/file; echo lost >/run/file; echo 1 >/etc/mark")?
        .ok()?;
    assert!(!Path::new("/var/lib/file").exists() && !Path::new("/etc/mark").exists());
    host.power_off()?;
    assert!(host.processes().is_empty() && host.run(&["true"]).is_err());
    host.power_on()?;
    assert_eq!(
        host.sh("cat /var/lib/file; test ! -e /run/file")?.ok()?,
        "kept"
    );
    host.start_engine()?;
    assert!(host.containers(None)?.is_empty());
    assert!(
        hosts.client().get(web, "/", SOON).is_err(),
        "nothing listens"
    );
    host.docker(&["start", "web"])?.ok()?;
    eventually("it runs again", SOON, answers)?;
    Ok(())
}

#[test]
fn a_probe_counts_what_fails_while_a_server_is_away() -> Result<()> {
    let hosts = Hosts::with_engines(&Setup::engines(1))?;
    let host = &hosts[0];
    host.docker(&["run", "-d", "--name", "web", "-p", "80:80", IMAGE_WEB_1])?
        .ok()?;
    let web = SocketAddr::new(IpAddr::V4(host.address()), 80);
    eventually("the web server answers", SOON, || {
        hosts.client().get(web, "/", SOON)
    })?;
    let probe = Probe::start(hosts.client(), vec![web], 50)?;
    let mut sent = 0;
    eventually("twenty requests", SOON, || {
        let window = probe.take()?;
        assert_eq!(window.failed, 0, "{window}");
        sent += window.sent;
        ensure!(sent >= 20, "{sent} requests");
        Ok(())
    })?;
    host.docker(&["stop", "web"])?.ok()?;
    eventually("failures are seen", SOON, || {
        let window = probe.take()?;
        ensure!(window.failed > 0, "{window}");
        Ok(())
    })
}

#[test]
fn a_panic_leaves_no_process_file_or_cgroup() -> Result<()> {
    let mut name = String::new();
    let mut pid = 0;
    let test = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let hosts = Hosts::with_engines(&Setup::engines(1)).unwrap();
        hosts[0]
            .docker(&["run", "-d", IMAGE_TOOLS])
            .unwrap()
            .ok()
            .unwrap();
        name = hosts.name().to_owned();
        pid = hosts[0].processes_named(&["dockerd"])[0].pid;
        assert!(cgroups(&name) > 0);
        panic!("as a failing test does");
    }));
    assert!(test.is_err() && !name.is_empty());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!Path::new("/var/tmp/swarmr-hosts").join(&name).exists());
    assert_eq!(cgroups(&name), 0);
    Ok(())
}

/// Cgroups, in any hierarchy, whose name begins with `name`.
fn cgroups(name: &str) -> usize {
    let root = Path::new("/sys/fs/cgroup");
    let names = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    names(root.to_owned())
        .map(|entry| entry.path())
        .chain([root.to_owned()])
        .flat_map(names)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(name))
        .count()
}
