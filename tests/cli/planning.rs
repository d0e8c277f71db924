//! `service explain`, `service plan` and `--dry-run`, from the flags to the screen.

use super::against_api::{run, swarmr};
use crate::api::harness::Server;
use crate::api::planning::plan;

/// What a command prints; it must succeed.
async fn printed(server: &Server, words: &str) -> String {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (succeeded, out, err) = run(swarmr(), server, &words).await;
    assert!(succeeded, "{words:?}: {err}");
    out
}

#[tokio::test]
async fn what_waits_and_what_would_happen_are_printed() {
    let server = Server::manager();
    let node = &server.control.state();
    let node = &node.nodes().next().unwrap().description.hostname;
    let out = printed(
        &server,
        "service create --dry-run --name web --replicas 2 nginx",
    )
    .await;
    assert_eq!(
        out,
        format!(
            "+0     web.1    make   nginx\n\
             +0     web.1    place  nginx on {node}\n\
             +0     web.2    make   nginx\n\
             +0     web.2    place  nginx on {node}\n\
             +1     web.1    run    nginx on {node}\n\
             +1     web.2    run    nginx on {node}\n"
        )
    );
    assert_eq!(printed(&server, "service ls -q").await, "");
    printed(
        &server,
        "service create -d --name web --reserve-cpu 64 --anti-affinity app=db nginx",
    )
    .await;
    plan(&server);
    let out = printed(&server, "service explain web").await;
    let first = format!("  {node}  64 CPUs asked for, ");
    assert!(out.contains(&first), "{out}");
    assert!(out.contains("to let one run: reserve "), "{out}");
    let json = printed(&server, "service explain --json web").await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["Waiting"][0]["Tasks"][0], "web.1");
    for same in [
        "service plan web --reserve-cpu 0",
        "service update --dry-run web --reserve-cpu 0",
    ] {
        let out = printed(&server, same).await;
        let placed = format!("web.1    place  nginx on {node}");
        assert!(out.contains(&placed), "{out}");
    }
    let out = printed(&server, "service plan web --label-add a=b").await;
    let waits = "nothing would be started or stopped\nin the end web.1 waits: no suitable node";
    assert!(out.starts_with(waits), "{out}");
}
