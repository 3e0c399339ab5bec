//! Tokens: hashed in their file, with scopes and a last day, charged by time used, and named in log and metrics.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use magpie_core::search::SearchParams;

use crate::common::{Got, JSON, Running, agent, eventually, get, post, read, request, shard};

const SHOP: &str = "one-long-enough-token";
const BOSS: &str = "another-long-enough-token";

fn program(args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_magpie-server"));
    program.args(args);
    program
}

/// The hash that the program prints of a token.
fn hash(token: &str) -> String {
    let mut program = program(&["--hash-token"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    program.stdin.take().unwrap().write_all(format!("{token}\n").as_bytes()).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn ask(server: &Running, path: &str, token: &str, body: &str) -> Got {
    post(&agent(), &server.url(path), &[JSON, ("authorization", &format!("Bearer {token}"))], body).unwrap()
}

fn guarded(tokens: &str, change: impl FnOnce(&mut magpie_server::Settings)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("a.magpie"), folder.path().join("tokens"));
    shard(&path, 0..400, 1);
    std::fs::write(&file, tokens).unwrap();
    Running::serve(folder, vec![path], |settings| {
        settings.tokens = Some(file);
        // Whatever a search takes here is paid for, unless a test says otherwise.
        settings.search_cost = Duration::from_secs(60);
        change(settings);
    })
}

#[test]
fn a_file_of_hashes_accepts_the_tokens_and_not_the_hashes() {
    let (shop, boss) = (hash(SHOP), hash(BOSS));
    let server = guarded(
        &format!("shop {shop}\nboss {boss} scope=search,admin\nold {} expires=2020-02-29", hash(&"x".repeat(20))),
        |_| (),
    );
    let body = request(1, None, &SearchParams::default());
    let search = |token: &str| ask(&server, "/v1/search", token, &body).status;
    assert_eq!((search(SHOP), search(BOSS), search(&shop), search("nonsense-of-that-length")), (200, 200, 401, 401));
    let expired = ask(&server, "/v1/search", &"x".repeat(20), &body);
    assert!(expired.status == 401 && expired.body.contains("expired"), "{}", expired.body);
    assert!(!program(&["--hash-token"]).stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
}

#[test]
fn only_administrators_may_reload_and_are_told_why_it_failed() {
    let server = guarded(&format!("shop {SHOP}\nboss {BOSS} scope=admin"), |_| ());
    let reload = |token: &str| ask(&server, "/v1/reload", token, "");
    assert_eq!((reload(SHOP).status, reload("nonsense-of-that-length").status), (403, 401));
    assert_eq!(ask(&server, "/v1/search", BOSS, "{}").status, 403);
    let path = server.folder.path().join("a.magpie");
    shard(&path.with_extension("new"), 0..30, 2);
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    let done = reload(BOSS);
    assert!(done.status == 200 && done.body.contains(r#""listings":30,"#), "{}", done.body);
    shard(&path.with_extension("new"), 0..40, 1);
    std::fs::rename(path.with_extension("new"), &path).unwrap();
    let refused = reload(BOSS);
    assert!(refused.status == 409 && refused.body.contains("older than 2"), "{}", refused.body);
    // Without tokens, nobody is an administrator.
    let open = Running::start(|_| ());
    assert_eq!(post(&agent(), &open.url("/v1/reload"), &[], "").unwrap().status, 403);
}

#[test]
fn searches_are_charged_by_the_time_that_they_take() {
    // Here, every search takes far longer than what its request pays for, and is charged for a minute at most.
    let server = guarded(&format!("shop {SHOP}\nboss {BOSS}"), |settings| {
        (settings.rate, settings.burst, settings.search_cost) = (1.0, 1000.0, Duration::from_nanos(1));
    });
    let body = request(1, None, &SearchParams::default());
    assert_eq!(ask(&server, "/v1/search", SHOP, &body).status, 200);
    let refused = ask(&server, "/v1/search", SHOP, &body);
    assert_eq!(refused.status, 429, "{}", refused.body);
    // Others are not.
    assert_eq!(ask(&server, "/v1/search", BOSS, &body).status, 200);
    let metrics = get(&server.url("/metrics")).body;
    for line in [
        r#"magpie_token_requests_total{token="shop",result="admitted"} 1"#,
        r#"magpie_token_requests_total{token="shop",result="refused"} 1"#,
        r#"magpie_token_requests_total{token="boss",result="admitted"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in:\n{metrics}");
    }
}

#[test]
fn the_log_names_who_guesses_and_who_asks_too_often() {
    let folder = tempfile::tempdir().unwrap();
    let (path, tokens, log) = (folder.path().join("a.magpie"), folder.path().join("tokens"), folder.path().join("log"));
    shard(&path, 0..20, 1);
    std::fs::write(&tokens, format!("shop {SHOP}")).unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut server = program(&["--listen", &address.to_string(), "--log-json", "--linger-ms", "0", "--burst", "1"]);
    server.args(["--rate", "0.001", "--shards"]).arg(&path).arg("--tokens").arg(&tokens);
    let mut server = server.stderr(std::fs::File::create(&log).unwrap()).spawn().unwrap();
    let agent = agent();
    let url = |path: &str| format!("http://{address}{path}");
    assert!(eventually(|| read(agent.get(url("/healthz")).call()).is_ok_and(|got| got.status == 200)));
    let get = |token: &str| {
        let request = agent.get(url("/v1/listings/mug-0001")).header("authorization", format!("Bearer {token}"));
        read(request.call()).unwrap().status
    };
    assert_eq!((get("nonsense-of-that-length"), get(SHOP), get(SHOP)), (401, 200, 429));
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert_eq!(server.wait().unwrap().code(), Some(0));
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |status: u64| lines.iter().find(|line| line["status"] == status && line["route"] != "/healthz").unwrap();
    assert!(of(401)["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{text}");
    assert_eq!(of(401)["caller"], serde_json::Value::Null);
    assert!(of(429)["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{text}");
    assert_eq!((&of(429)["caller"], &of(200)["caller"]), (&"shop".into(), &"shop".into()));
    // Where nobody does anything wrong, no address is logged.
    assert_eq!(of(200)["client"], serde_json::Value::Null);
    assert!(!text.contains(SHOP) && !text.contains("nonsense"), "{text}");
}
